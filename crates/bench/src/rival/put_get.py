"""Two processes and a multiprocessing.Queue: one puts integers, the other gets them.

Each order on stdin is how many integers; the answer is how many nanoseconds that took, and their sum.
"""

import multiprocessing
import sys
import time

from pool import die_with_parent


def consumer(queue, far):
    die_with_parent()
    while True:
        far.send(sum(queue.get() for _ in range(far.recv())))


def main():
    die_with_parent()
    queue = multiprocessing.Queue()
    near, far = multiprocessing.Pipe()
    multiprocessing.Process(target=consumer, args=(queue, far), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        started = time.perf_counter_ns()
        near.send(count)
        for number in range(count):
            queue.put(number)
        total = near.recv()
        print("took", time.perf_counter_ns() - started, total, flush=True)


if __name__ == "__main__":
    main()
