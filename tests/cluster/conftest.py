"""One Ray for all tests of this folder, with GPUs that do not exist."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cluster.config import ClusterConfig
from cluster.on_ray.backend import RayBackend
from cluster.schedule.job import Event, JobOutcome, JobSpec
from cluster.schedule.scheduler import StopRule, run_jobs
from tests.helpers.waiting import wait_until

GPUS = 4


@pytest.fixture(scope="session")
def own_ray() -> Iterator[RayBackend]:
    """A local Ray; each test configures its own backend on it."""
    with RayBackend.connect(ClusterConfig(address="local", gpus=GPUS)) as backend:
        yield backend


@dataclass
class Ran:
    """Outcomes by job, and all events in order."""

    outcomes: dict[str, JobOutcome]
    events: list[Event] = field(default_factory=list)

    def of(self, job: str) -> list[str]:
        """The events of one job."""
        return [event.event for event in self.events if event.job == job]


Run = Callable[..., Ran]


@pytest.fixture
def run(own_ray: RayBackend) -> Iterator[Run]:
    """Run jobs on cores, under a configuration; at the end nothing of them may be left.

    touch: path of a file by (job, event); the file is touched at the first such event of the job. stop: of the run.
    """

    def run_them(
        jobs: Sequence[JobSpec],
        *,
        touch: Mapping[tuple[str, str], Path] | None = None,
        stop: StopRule | None = None,
        **settings: object,
    ) -> Ran:
        config = ClusterConfig(**({"gpus": 0} | settings))  # type: ignore[arg-type]
        events: list[Event] = []

        def hear(event: Event) -> None:
            events.append(event)
            if path := (touch or {}).get((event.job, event.event)):
                path.touch()

        backend = RayBackend(config, joined=None)
        outcomes = run_jobs(jobs, backend=backend, retries=config.retries, on_event=hear, stop=stop)
        return Ran(outcomes, events)

    yield run_them
    check_all_given_back()


def check_all_given_back() -> None:
    """No actor, no placement group, no resource of a finished job is held."""
    import ray
    from ray.util.placement_group import placement_group_table

    everything = ray.cluster_resources()["CPU"]
    wait_until(lambda: ray.available_resources().get("CPU") == everything, "all cores to be free", limit_s=10)
    assert ray.available_resources().get("GPU") == GPUS
    assert {group["state"] for group in placement_group_table().values()} <= {"REMOVED"}
