"""Real Ray and real Horovod: worlds side by side, each on its own slots."""

import logging
import os
from itertools import combinations
from pathlib import Path

import pytest

from cluster.config import HorovodConfig
from cluster.schedule.job import JobSpec
from cluster.schedule.slots import cores_of
from data_tools.errors import UserError
from tests.cluster.conftest import GPUS, Run

REGIONS = ("top", "bottom", "left", "right")


def jobs(target: str, **payload: object) -> list[JobSpec]:
    return [JobSpec(name, f"tests.cluster.targets:{target}", dict(payload)) for name in REGIONS]


def test_two_worlds_of_two_at_the_same_time(run: Run, tmp_path: Path) -> None:
    """Four of them train at once in tests/e2e/test_train_all.py."""
    pair = jobs("world", meet=str(tmp_path), expect=4)[:2]
    ran = run(pair, slots=4)
    for name in (job.name for job in pair):
        outcome = ran.outcomes[name]
        assert outcome.state == "done", outcome.error
        assert (outcome.value["size"], outcome.value["sum"]) == (2, 3)
        assert ran.of(name) == ["started", "running", "done"]
    for one, other in combinations(ran.outcomes.values(), 2):
        assert set(one.group.slots).isdisjoint(other.group.slots)
        assert max(one.started, other.started) < min(one.ended, other.ended)


def test_each_world_has_its_own_gpus(run: Run, tmp_path: Path) -> None:
    pairs = jobs("place", meet=str(tmp_path), expect=4)[:2]
    ran = run(pairs, gpus=None, horovod=HorovodConfig(fusion_mib=32, cycle_ms=2.5, autotune=True))
    devices = [outcome.value["environment"]["CUDA_VISIBLE_DEVICES"].split(",") for outcome in ran.outcomes.values()]
    assert [len(each) for each in devices] == [2, 2]
    assert len({device for each in devices for device in each}) == GPUS
    for outcome in ran.outcomes.values():
        settings = {name: outcome.value["environment"][f"HOROVOD_{name}"] for name in ("CYCLE_TIME", "AUTOTUNE")}
        assert settings == {"CYCLE_TIME": "2.5", "AUTOTUNE": "1"}, "Horovod's own settings reach every worker"
        assert outcome.value["environment"]["HOROVOD_FUSION_THRESHOLD"] == str(32 * 2**20)
    running = [event.record()["workers"] for event in ran.events if event.event == "running"]
    assert [[worker["rank"] for worker in workers] for workers in running] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("bind_cores", [True, False])
def test_workers_are_bound_to_their_own_cores(run: Run, tmp_path: Path, bind_cores: bool) -> None:
    pair = jobs("world", meet=str(tmp_path), expect=2)[:2]
    ran = run(pair, slots=2, workers_per_region=1, bind_cores=bind_cores)
    cores = sorted(os.sched_getaffinity(0))
    for outcome in ran.outcomes.values():
        (slot,) = outcome.group.slots
        assert outcome.value["cores"] == (cores_of(slot.index, 2, cores=cores) if bind_cores else cores)


def test_regions_do_not_wait_for_the_slot_of_a_long_job(run: Run, tmp_path: Path) -> None:
    """Two slots: a long job on one of them ends only after the last of four regions, which all take the other."""
    over = tmp_path / "over"
    long = JobSpec("long", "tests.cluster.targets:place", {"until": str(over)}, workers=1, work=9.0)
    regions = [JobSpec(name, "tests.cluster.targets:place", {}, workers=1) for name in REGIONS]
    ran = run([*regions, long], touch={("right", "done"): over}, slots=2)
    assert {outcome.state for outcome in ran.outcomes.values()} == {"done"}
    slots = {name: outcome.group.slots for name, outcome in ran.outcomes.items()}
    assert {slots[name] for name in REGIONS} == {slots["top"]} != {slots["long"]}


def test_a_job_that_can_never_be_placed_is_rejected_at_once(run: Run) -> None:
    job = JobSpec("wide", "tests.cluster.targets:place", {}, workers=5)
    with pytest.raises(UserError, match=r"^5 workers per job are requested \(wide\), found 4 slots \(.*: 4\); "):
        run([job], gpus=None)


def test_a_job_waits_for_busy_gpus_and_says_so(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """An actor holds three of the four GPUs and releases them once the job has logged what it waits for."""
    import ray

    @ray.remote(num_cpus=0, num_gpus=3)
    class Other:
        def there(self) -> bool:
            return True

    other = Other.remote()
    assert ray.get(other.there.remote())

    class LetGo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            ray.kill(other)

    handler = LetGo()
    logging.getLogger("cluster.on_ray.worlds.reservation").addHandler(handler)
    try:
        ran = run([JobSpec("wide", "tests.cluster.targets:place", {}, workers=2)], gpus=None)
    finally:
        logging.getLogger("cluster.on_ray.worlds.reservation").removeHandler(handler)
    assert ran.outcomes["wide"].state == "done"
    assert ran.of("wide") == ["started", "running", "done"], "waiting is not a failure"
    (said,) = [record.message for record in caplog.records if record.name == "cluster.on_ray.worlds.reservation"]
    host = next(iter(ran.outcomes["wide"].group.hosts))
    assert said == f"wide waits for 2 GPU on {host}: in use by another program"
