"""Two processes that wait for each other by a multiprocessing.Event each, or by a Barrier.

    meeting.py event|barrier

Each order on stdin is how often they meet; the answer is how many nanoseconds that took, and how often it was.
"""

import multiprocessing
import sys
import time

from pool import die_with_parent


class Events:
    def __init__(self):
        self.signals = multiprocessing.Event(), multiprocessing.Event()

    def meet(self, me):
        mine, others = self.signals[me], self.signals[1 - me]
        if me == 0:
            mine.set()
        others.wait()
        others.clear()
        if me == 1:
            mine.set()


class Barrier:
    def __init__(self):
        self.barrier = multiprocessing.Barrier(2)

    def meet(self, me):
        self.barrier.wait()


def meet_often(meeting, me, count):
    for _ in range(count):
        meeting.meet(me)


def second(meeting, orders):
    die_with_parent()
    while True:
        meet_often(meeting, 1, orders.recv())


def main():
    die_with_parent()
    meeting = {"event": Events, "barrier": Barrier}[sys.argv[1]]()
    orders, far_end = multiprocessing.Pipe()
    multiprocessing.Process(target=second, args=(meeting, far_end), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        orders.send(count)
        started = time.perf_counter_ns()
        meet_often(meeting, 0, count)
        print("took", time.perf_counter_ns() - started, count, flush=True)


if __name__ == "__main__":
    main()
