"""A multiprocessing.Pool that takes orders on stdin and answers in nanoseconds.

    map ITEMS     one Pool.map of `trivial` over a list of ITEMS numbers, with the default chunk size
    apply CALLS   CALLS times Pool.apply; the median
"""

import ctypes
import multiprocessing
import signal
import statistics
import sys
import time

PR_SET_PDEATHSIG = 1


def trivial(x):
    return x + 1


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_map(pool, count):
    items = list(range(count))
    started = time.perf_counter_ns()
    results = pool.map(trivial, items)
    return time.perf_counter_ns() - started, sum(results)


def run_apply(pool, count):
    times, total = [], 0
    for x in range(count):
        started = time.perf_counter_ns()
        result = pool.apply(trivial, (x,))
        times.append(time.perf_counter_ns() - started)
        total += result
    return int(statistics.median(times)), total


def main():
    die_with_parent()
    orders = {"map": run_map, "apply": run_apply}
    with multiprocessing.Pool(int(sys.argv[1]), initializer=die_with_parent) as pool:
        # Every worker has to be up before the first order.
        pool.map(trivial, range(10_000))
        print("ready", flush=True)
        for line in sys.stdin:
            order, count = line.split()
            took, total = orders[order](pool, int(count))
            print("took", took, total, flush=True)


if __name__ == "__main__":
    main()
