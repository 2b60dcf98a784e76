"""What the signs of life of a world cost the shared folder: intervals as a table, and counted file operations."""

from collections import Counter
from pathlib import Path

import pytest

from cluster.liveness.fence import Fence
from cluster.liveness.watch import Heartbeat as Read
from cluster.liveness.watch import Limits, Watch, allowed_silence_s
from data_tools.files import write_json
from data_tools.protocol import fence_s, heartbeat_path, heartbeat_s, pulse_s
from trainer.job_folder.heartbeat import Heartbeat

LIMITS = Limits(silence_s=300, step_s=900, phase_s=3600)

# rank, world size -> seconds between heartbeats with news, between heartbeats without, between looks at the fences
INTERVALS = [
    ((0, 1), (1.0, 5.0, 2.0)),
    ((0, 512), (1.0, 5.0, 2.0)),  # rank 0 writes the checkpoints, and holds what a person follows
    ((1, 8), (1.0, 5.0, 2.0)),
    ((1, 16), (1.0, 5.0, 2.0)),
    ((63, 64), (4.0, 5.0, 4.0)),
    ((511, 512), (32.0, 32.0, 32.0)),
]


@pytest.mark.parametrize(("place", "seconds"), INTERVALS)
def test_intervals(place: tuple[int, int], seconds: tuple[float, float, float]) -> None:
    assert (heartbeat_s(*place), pulse_s(*place), fence_s(*place)) == seconds


def counted(folder: Path, world: int, monkeypatch: pytest.MonkeyPatch, *, seconds: int) -> Counter[str]:
    """File operations of a world that trains for `seconds` of a virtual clock, through the product's own code."""
    operations: Counter[str] = Counter()
    write, replace, read = Path.write_text, Path.replace, Path.read_text

    def count(name: str, number: int, act: object) -> object:
        def counting(self: Path, *arguments: object, **options: object) -> object:
            operations[name] += number
            return act(self, *arguments, **options)  # type: ignore[operator]

        return counting

    fences = [Fence(str(folder / name), "token") for name in ("driver.lease", "attempt.json")]
    for fence in fences:
        write_json(Path(fence.path), {"token": "token"})
    heartbeats = [Heartbeat(folder, rank=rank, world_size=world) for rank in range(world)]
    for heartbeat in heartbeats:
        heartbeat.write()
    import os

    watch = Watch(folder, [os.getpid()] * world, limits=LIMITS, now=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", count("write", 2, write))  # create, write
        patch.setattr(Path, "replace", count("write", 1, replace))
        patch.setattr(Path, "read_text", count("read", 1, read))
        for second in range(1, seconds + 1):
            for rank, heartbeat in enumerate(heartbeats):
                heartbeat.at("training", step=second)
                if second % heartbeat_s(rank, world) == 0:
                    assert heartbeat.write_if_due(float(second))
                if second % fence_s(rank, world) == 0:
                    assert not any(fence.superseded() for fence in fences)
            assert watch.look(float(second)) is None
            read(heartbeat_path(folder, 0))  # the driver's progress display
            operations["read"] += 1
    return operations


@pytest.mark.parametrize(("world", "most"), [(8, 45.0), (64, 120.0), (512, 120.0)])
def test_operations_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int, most: float) -> None:
    seconds = 64
    operations = counted(tmp_path, world, monkeypatch, seconds=seconds)
    assert sum(operations.values()) / seconds <= most


@pytest.mark.parametrize("world", [1, 8, 64, 512])
def test_a_live_rank_is_never_silent_and_a_dead_one_is_found(world: int) -> None:
    """The reader allows for the interval: neither a late heartbeat nor a late read makes a live rank a hung one."""
    late = pulse_s(world - 1, world) + heartbeat_s(world - 1, world)
    assert allowed_silence_s(world) >= late
    assert allowed_silence_s(world) <= 64.0 + 5.0, "what a dead rank of 512 costs beyond cluster.silence_timeout_s"


def test_hang_detection_of_a_large_world(tmp_path: Path) -> None:
    """Of 64 ranks one goes silent; the others write at their interval, and are read at theirs."""
    world, dead = 64, 5
    watch = Watch(tmp_path, [1] * world, limits=LIMITS, now=0.0)
    last = {rank: Read(0.0, "training", 0) for rank in range(world)}
    hang, second = None, 0
    while hang is None and second < 1000:
        second += 1
        for rank in range(world):
            if second % heartbeat_s(rank, world) == 0 and (rank != dead or second < 100):
                last[rank] = Read(float(second), "training", second)
                heartbeat_path(tmp_path, rank).write_text(
                    f'{{"pid": 1, "time": {second}, "phase": "training", "step": {second}}}'
                )
        hang = watch.look(float(second))
    assert hang is not None
    assert hang.rank == dead
    assert 400 <= second <= 400 + allowed_silence_s(world) + heartbeat_s(1, world)
