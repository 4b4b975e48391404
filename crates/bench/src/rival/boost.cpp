// A Boost.Interprocess message_queue of numbers, as the two processes of a bench that tells them line by line what to do.
//
//     boost consume NAME ROOM    makes the queue, answers "ready NAME"; to "get COUNT": "got SUM DISORDERED"
//     boost produce NAME ROOM    to "put FIRST COUNT": "done"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

using boost::interprocess::message_queue;

constexpr unsigned PRIORITY = 0;

// The name of a queue, for as long as one has to be able to find it.
struct Name {
    std::string text;
    explicit Name(const char* name) : text(name) { message_queue::remove(name); }
    ~Name() { forget(); }
    void forget() {
        if (!text.empty()) message_queue::remove(text.c_str());
        text.clear();
    }
};

static void answer(const std::string& line) {
    std::puts(line.c_str());
    std::fflush(stdout);
}

static int produce(const char* name) {
    message_queue queue(boost::interprocess::open_only, name);
    unsigned long long first, count;
    while (std::scanf(" put %llu %llu", &first, &count) == 2) {
        for (std::uint64_t message = first; message < first + count; ++message) {
            queue.send(&message, sizeof message, PRIORITY);
        }
        answer("done");
    }
    return 0;
}

static int consume(const char* text, std::size_t room) {
    Name name(text);
    message_queue queue(boost::interprocess::create_only, text, room, sizeof(std::uint64_t));
    answer(std::string("ready ") + text);
    unsigned long long count;
    while (std::scanf(" get %llu", &count) == 1) {
        std::uint64_t sum = 0, disordered = 0, last = 0;
        for (unsigned long long n = 0; n < count; ++n) {
            std::uint64_t message;
            message_queue::size_type length;
            unsigned priority;
            queue.receive(&message, sizeof message, length, priority);
            // The producer has found it: nothing is left behind by whoever is killed from here on.
            name.forget();
            sum += message;
            disordered += n > 0 && message <= last;
            last = message;
        }
        answer("got " + std::to_string(sum) + " " + std::to_string(disordered));
    }
    return 0;
}

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    try {
        return std::strcmp(argv[1], "produce") == 0 ? produce(argv[2]) : consume(argv[2], std::stoul(argv[3]));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "boost: %s\n", error.what());
        return 1;
    }
}
