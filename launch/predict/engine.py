"""Where `predict` computes: in this process, or in one process for each GPU or host of a Ray cluster."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from data_tools.cores import available_cores
from launch.api import Run
from launch.terminal.console import print_err
from trainer.serving.classify import OPENER, Classifier, FileOutputs, Group, remote_setup
from trainer.serving.decode import Cut, Decoders

Engine = Callable[[Iterable[Group]], Iterator[list[FileOutputs]]]
"""Groups of files -> what the models say about each file, group by group, in order."""


@dataclass(frozen=True)
class Resources:
    """What was asked for. gpus: None takes those that are there; workers: decoding processes a host; address: Ray's."""

    gpus: int | None = None
    workers: int | None = None
    address: str | None = None

    @property
    def on_ray(self) -> bool:
        """Whether more than this process computes."""
        joins = self.address not in (None, "local") or (self.address is None and bool(os.environ.get("RAY_ADDRESS")))
        return joins or (self.gpus or 0) > 1

    def decoders(self) -> int:
        """Decoding processes on this host."""
        return self.workers or available_cores()


@contextlib.contextmanager
def open_engine(run: Run, resources: Resources, *, on_pages: Callable[[int], None]) -> Iterator[Engine]:
    """Load the models where they are to compute. on_pages: called with pages that were computed in this process.

    Raises:
        UserError: the run is not finished; or the Ray cluster does not answer, or has too few GPUs.
    """
    with _on_ray(run, resources) if resources.on_ray else _here(run, resources, on_pages) as engine:
        yield engine


def cut_of(run: Run) -> Cut:
    """How pages become the input of the run's models."""
    return Cut(run.regions, run.record.shape, run.config.data.pdf_dpi)


@contextlib.contextmanager
def _here(run: Run, resources: Resources, on_pages: Callable[[int], None]) -> Iterator[Engine]:
    if resources.gpus == 0:
        from trainer.device import hide_gpus

        hide_gpus()
    workers = resources.decoders()
    with Decoders(cut_of(run), workers=workers, page_timeout_s=run.config.shards.page_timeout_s) as decoders:
        classifier = Classifier(run.ensemble, decoders, ahead=workers + 1, on_pages=on_pages)
        yield lambda groups: classify_in_turn(classifier, groups)


def classify_in_turn(classifier: Classifier, groups: Iterable[Group]) -> Iterator[list[FileOutputs]]:
    """The outputs of each group, while the next one is decoded."""
    current: Group | None = None
    for upcoming in groups:
        if current is not None:
            yield classifier(current, upcoming)
        current = upcoming
    if current is not None:
        yield classifier(current)


@contextlib.contextmanager
def _on_ray(run: Run, resources: Resources) -> Iterator[Engine]:
    from cluster.on_ray.actor_pool import actor_pool  # Ray takes seconds to import.

    joins = resources.address or os.environ.get("RAY_ADDRESS")
    config = replace(
        run.config.cluster,
        address=resources.address if joins else "local",
        gpus=0 if resources.gpus == 0 else None,
        request_slots=None,
    )
    setup = remote_setup(
        run.folder,
        cut_of(run),
        model=run.model,
        workers=resources.workers,
        page_timeout_s=run.config.shards.page_timeout_s,
    )
    with actor_pool(config, OPENER, setup, gpus=resources.gpus) as pool:
        where = f"the Ray cluster at {pool.address}" if pool.address else "a private Ray"
        print_err(f"classifying in {len(pool.hosts)} processes of {where}: {', '.join(pool.hosts)}")
        yield pool.map
