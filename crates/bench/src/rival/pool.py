"""A multiprocessing.Pool, or a ProcessPoolExecutor, that takes orders on stdin and answers in nanoseconds.

    map N       one Pool.map of `trivial` over a list of N numbers, with the default chunk size
    map1 N      the same with chunk size 1
    imap1 N     Pool.imap_unordered, with chunk size 1
    apply N     N times Pool.apply; the median
    bytes N     one Pool.map of `len` over N strings of a mebibyte
    burn N T    one Pool.map of `burn` over N times T, each of which uses T nanoseconds of CPU time
    create N    a new Pool of two workers, one map of `trivial` over N numbers, close and join
    submit N    N times Executor.submit, then the results of all
"""

import concurrent.futures
import ctypes
import multiprocessing
import signal
import statistics
import sys
import time

PR_SET_PDEATHSIG = 1


def trivial(x):
    return x + 1


def burn(nanos):
    started = time.thread_time_ns()
    while time.thread_time_ns() - started < nanos:
        pass
    return nanos


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def timed(work):
    started = time.perf_counter_ns()
    results = work()
    return time.perf_counter_ns() - started, results


def run_map(pool, count, **chunk):
    items = list(range(count))
    took, results = timed(lambda: pool.map(trivial, items, **chunk))
    return took, sum(results)


def run_map1(pool, count):
    return run_map(pool, count, chunksize=1)


def run_imap1(pool, count):
    return timed(lambda: sum(pool.imap_unordered(trivial, range(count))))


def run_bytes(pool, count):
    items = [bytes([n]) * (1 << 20) for n in range(count)]
    took, results = timed(lambda: pool.map(len, items))
    return took, sum(results)


def run_apply(pool, count):
    times, total = [], 0
    for x in range(count):
        took, result = timed(lambda: pool.apply(trivial, (x,)))
        times.append(took)
        total += result
    return int(statistics.median(times)), total


def run_burn(pool, count, nanos):
    took, results = timed(lambda: pool.map(burn, [nanos] * count))
    return took, sum(results)


def run_create(_, count):
    def work():
        with multiprocessing.Pool(2) as pool:
            results = pool.map(trivial, range(count))
            pool.close()
            pool.join()
            return sum(results)

    return timed(work)


def run_submit(executor, count):
    def work():
        futures = [executor.submit(trivial, x) for x in range(count)]
        return sum(future.result() for future in concurrent.futures.as_completed(futures))

    return timed(work)


ORDERS = {
    "map": run_map,
    "map1": run_map1,
    "imap1": run_imap1,
    "bytes": run_bytes,
    "apply": run_apply,
    "burn": run_burn,
    "create": run_create,
    "submit": run_submit,
}


def serve(pool):
    print("ready", flush=True)
    for line in sys.stdin:
        order, *numbers = line.split()
        took, total = ORDERS[order](pool, *map(int, numbers))
        print("took", took, total, flush=True)


def main():
    die_with_parent()
    kind, workers = sys.argv[1], int(sys.argv[2])
    if kind == "executor":
        with concurrent.futures.ProcessPoolExecutor(workers, initializer=die_with_parent) as executor:
            executor.submit(trivial, 0).result()
            serve(executor)
    elif kind == "new":
        serve(None)
    else:
        with multiprocessing.Pool(workers, initializer=die_with_parent) as pool:
            # Every worker has to be up before the first order.
            pool.map(trivial, range(10_000))
            serve(pool)


if __name__ == "__main__":
    main()
