"""What a worker process and the driver that started it agree on: variables, files, intervals.

Workers and driver share nothing but a folder on network storage, so each sign of life and each look at it costs the
storage server some operations. All intervals grow with the world size, so that a world of any size causes about the
same number of them a second (`docs/scaling.md` has the figures).
"""

from pathlib import Path

THREADS = "REGIONSTACK_THREADS"
"""Environment variable: threads of one worker, a count of 1 or more; 0 or unset leaves TensorFlow's own default."""
EXPECT_GPU = "REGIONSTACK_EXPECT_GPU"
"""Environment variable: 1 where a rank was promised a GPU, and must not train on the CPU instead; 0 where it need not
find one, whatever CUDA_VISIBLE_DEVICES names."""

WORLD_RATE = 16
"""Heartbeats, and looks at the fences, a second that a whole world causes at most, rank 0 not counted."""
PULSE_S = 5.0
"""A rank with nothing new writes a heartbeat after this time, or after its interval where that is longer."""
FENCE_S = 2.0


def threads_per_worker(cores: float, slots: int) -> int:
    """Threads of each of `slots` workers that share a host's `cores`: an equal part, 1 at least."""
    return max(1, int(cores / slots))


def heartbeat_path(folder: Path, rank: int) -> Path:
    """The heartbeat file of one rank in a job's folder."""
    return folder / f"heartbeat-rank-{rank}.json"


def heartbeat_s(rank: int, world_size: int) -> float:
    """Seconds between two heartbeats of a rank that makes progress. Rank 0's also holds what a person follows."""
    return 1.0 if rank == 0 else max(1.0, world_size / WORLD_RATE)


def pulse_s(rank: int, world_size: int) -> float:
    """The longest time in seconds between two heartbeats of a live rank, whatever it does."""
    return max(PULSE_S, heartbeat_s(rank, world_size))


def fence_s(rank: int, world_size: int) -> float:
    """Seconds between two looks of a rank at its fences. Rank 0 alone writes checkpoints, and looks at full rate."""
    return FENCE_S if rank == 0 else max(FENCE_S, world_size / WORLD_RATE)
