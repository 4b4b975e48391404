"""A dict of a multiprocessing.Manager, from numbers to values of 64 bytes.

Each order on stdin is `get COUNT` or `insert COUNT`; the answer is how many nanoseconds that took, and a sum.
"""

import multiprocessing.managers
import sys
import time

from pool import die_with_parent

KEYS = 10_000


def get(entries, count):
    total = 0
    for number in range(count):
        total += len(entries[number * 7 % KEYS])
    return total


def insert(entries, count):
    for number in range(count):
        key = number * 7 % KEYS
        entries[key] = bytes([key % 256]) * 64
    return count * 64


def main():
    die_with_parent()
    orders = {"get": get, "insert": insert}
    manager = multiprocessing.managers.SyncManager()
    manager.start(initializer=die_with_parent)
    entries = manager.dict({key: bytes(64) for key in range(KEYS)})
    print("ready", flush=True)
    for line in sys.stdin:
        order, count = line.split()
        started = time.perf_counter_ns()
        total = orders[order](entries, int(count))
        print("took", time.perf_counter_ns() - started, total, flush=True)


if __name__ == "__main__":
    main()
