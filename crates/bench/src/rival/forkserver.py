"""Processes by multiprocessing's forkserver: so many are started and joined; the median time."""

import multiprocessing
import statistics
import sys
import time


def nothing():
    pass


def main():
    context = multiprocessing.get_context("forkserver")

    def start_and_join():
        started = time.perf_counter_ns()
        process = context.Process(target=nothing)
        process.start()
        process.join()
        return time.perf_counter_ns() - started

    start_and_join()
    print("ready", flush=True)
    for line in sys.stdin:
        times = [start_and_join() for _ in range(int(line))]
        print("took", int(statistics.median(times)), 0, flush=True)


if __name__ == "__main__":
    main()
