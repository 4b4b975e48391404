"""Two processes and a multiprocessing.Pipe: integers one way, then DONE, and back how many there were and their sum.

Each order on stdin is how many integers; the answer is how many nanoseconds that took, and the sum.
"""

import multiprocessing
import sys
import time

from pool import die_with_parent

DONE = None


def reader(far):
    die_with_parent()
    while True:
        count = total = 0
        while (number := far.recv()) is not DONE:
            count += 1
            total += number
        far.send((count, total))


def main():
    die_with_parent()
    near, far = multiprocessing.Pipe()
    multiprocessing.Process(target=reader, args=(far,), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        started = time.perf_counter_ns()
        for number in range(count):
            near.send(number)
        near.send(DONE)
        received, total = near.recv()
        took = time.perf_counter_ns() - started
        assert received == count
        print("took", took, total, flush=True)


if __name__ == "__main__":
    main()
