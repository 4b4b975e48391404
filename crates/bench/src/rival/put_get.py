"""Two processes and a multiprocessing.Queue, or a Pipe: one puts messages, the other gets them.

    put_get.py queue        the messages are integers
    put_get.py queue BYTES  they are bytes objects of that length
    put_get.py pipe BYTES   the same by send_bytes

Each order on stdin is how many messages; the answer is how many nanoseconds that took, and the sum of the
integers, or of the lengths.
"""

import multiprocessing
import sys
import time

from pool import die_with_parent


def consumer(get, size, far):
    die_with_parent()
    while True:
        count = far.recv()
        if size is None:
            far.send(sum(get() for _ in range(count)))
        else:
            far.send(sum(len(get()) for _ in range(count)))


def main():
    die_with_parent()
    kind = sys.argv[1]
    size = int(sys.argv[2]) if len(sys.argv) > 2 else None
    if kind == "queue":
        queue = multiprocessing.Queue()
        put, get = queue.put, queue.get
    else:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        put, get = sender.send_bytes, receiver.recv_bytes
    near, far = multiprocessing.Pipe()
    multiprocessing.Process(target=consumer, args=(get, size, far), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        messages = range(count) if size is None else [bytes(size)] * count
        started = time.perf_counter_ns()
        near.send(count)
        for message in messages:
            put(message)
        total = near.recv()
        print("took", time.perf_counter_ns() - started, total, flush=True)


if __name__ == "__main__":
    main()
