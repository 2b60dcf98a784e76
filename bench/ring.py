"""Bandwidth and latency of a ring all-reduce on the network, as `regionstack plan` takes them.

    horovodrun -np 2 python bench/ring.py                          inside a host
    horovodrun -np 2 -H a:1,b:1 python bench/ring.py               between two hosts

Times sums of several sizes under Horovod; the best line through (bytes, seconds) of the ring's rounds gives both. It
has no bar: it measures the network, not this project.
"""

import json
import statistics
import sys
import time

import horovod.tensorflow as hvd
import numpy as np

SIZES = (4, 2**16, 2**20, 2**23, 2**26)
"""Bytes."""
TURNS = 7


def main() -> int:
    """Print a line for each size and, as the last one, bandwidth (bytes/s) and latency (s) as JSON."""
    hvd.init()
    ranks = hvd.size()
    rounds = 2 * (ranks - 1)
    rows = []
    for size in SIZES:
        values, times = np.ones(size // 4, np.float32), []
        for turn in range(TURNS + 1):
            began = time.perf_counter()
            hvd.allreduce(values, op=hvd.Sum, name=f"ring.{size}.{turn}")
            times.append(time.perf_counter() - began)
        rows.append((size, statistics.median(times[1:])))
    if hvd.rank() == 0:
        small, large = rows[0], rows[-1]
        bandwidth = rounds * (large[0] - small[0]) / ranks / (large[1] - small[1])
        for size, seconds in rows:
            print(f"{size:>10} bytes {1000 * seconds:9.2f} ms over {ranks} ranks")
        # The smallest sum is latency alone: of the rounds, and of Horovod's cycle of 1 ms.
        latency = max(small[1] - 0.001, 0.0) / rounds
        found = {"bandwidth": round(bandwidth), "latency_s": round(latency, 6)}
        print(json.dumps({"bench": "ring", "ranks": ranks, **found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
