"""Files in groups to the models' outputs: the next group is decoded while the models compute on this one.

A group's outputs depend on its files alone, so that a group gives the same bits in whatever process it is classified.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_tools.cores import available_cores
from data_tools.documents.regions import HOLISTIC
from trainer.scoring.unknown import contrast
from trainer.serving.decode import Cut, DecodedPage, DecodedPart, Decoders, Part, rest_of

BATCH = 64
"""Pages that the models compute at once."""

TASK = 4
"""Files that a decoding process receives at once."""

OPENER = "trainer.serving.classify:open_remote"

Group = tuple[str | DecodedPart, ...]
"""Files by path; a `DecodedPart` is a page that the caller has decoded."""


class Models(Protocol):
    """The models of a run, as `Ensemble` is."""

    def predict(self, pages: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """uint8 [n, height, width, channels] by region -> float32 [n, classes] by model."""


@dataclass
class FileOutputs:
    """What the models say about a file of `of` pages and `left_out` more, beyond a limit; `error`: it cannot be opened.

    pages: number, from 1 on, and None or the reason why the page was rejected. outputs: softmax float32 [k, classes] by
    model, a row for each of the k pages that were not rejected, in their order; empty without one. contrast: of these
    pages (`trainer.scoring.unknown.contrast`), empty if the whole page is no region.
    """

    of: int = 0
    error: str | None = None
    left_out: int = 0
    pages: list[tuple[int, str | None]] = field(default_factory=list)
    outputs: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    contrast: list[float] = field(default_factory=list)


@dataclass
class Classifier:
    """Classifies groups of files in turn. on_pages: called with the number of pages done since the last call."""

    models: Models
    decoders: Decoders
    ahead: int = 2
    """Tasks of one long document that are decoded ahead."""
    on_pages: Callable[[int], None] = lambda count: None
    _begun: dict[tuple[str | int, ...], list[Future[list[DecodedPart]]]] = field(default_factory=dict)

    def __call__(self, group: Group, upcoming: Group | None = None) -> list[FileOutputs]:
        """The outputs for each file of `group`, while `upcoming`, the next group, is decoded."""
        futures = self._begin(group)
        if upcoming is not None:
            self._begin(upcoming)
        del self._begun[_key(group)]
        results = [FileOutputs() for _ in group]
        rows: list[list[Mapping[str, NDArray[np.float32]]]] = [[] for _ in group]
        batch: list[tuple[int, DecodedPage]] = []
        for place, page in self._pages(group, futures, results):
            results[place].pages.append((page.number, page.error))
            if page.error is None:
                batch.append((place, page))
                if HOLISTIC in page.regions:
                    results[place].contrast += contrast(page.regions[HOLISTIC][np.newaxis]).tolist()
            if len(batch) == BATCH:
                self._compute(batch, rows)
                batch = []
        if batch:
            self._compute(batch, rows)
        for result, own in zip(results, rows, strict=True):
            if own:
                result.outputs = {name: np.stack([row[name] for row in own]) for name in own[0]}
        return results

    def _begin(self, group: Group) -> list[Future[list[DecodedPart]]]:
        if _key(group) not in self._begun:
            paths = [path for path in group if isinstance(path, str)]
            tasks = [paths[first : first + TASK] for first in range(0, len(paths), TASK)]
            self._begun[_key(group)] = [self.decoders.submit([Part(path) for path in task]) for task in tasks]
        return self._begun[_key(group)]

    def _pages(
        self, group: Group, futures: Sequence[Future[list[DecodedPart]]], results: Sequence[FileOutputs]
    ) -> Iterator[tuple[int, DecodedPage]]:
        """The pages of the group's files in order; sets the first fields of their results."""
        decoded = (part for future in futures for part in future.result())
        for place, (file, result) in enumerate(zip(group, results, strict=True)):
            part = file if isinstance(file, DecodedPart) else next(decoded)
            result.of, result.error, result.left_out = part.of, part.error, part.left_out
            yield from ((place, page) for page in part.pages)
            if isinstance(file, str) and part.of > len(part.pages):
                yield from ((place, page) for page in rest_of(file, part, self.decoders, ahead=self.ahead))

    def _compute(
        self, batch: Sequence[tuple[int, DecodedPage]], rows: Sequence[list[Mapping[str, NDArray[np.float32]]]]
    ) -> None:
        regions = {name: np.stack([page.regions[name] for _, page in batch]) for name in batch[0][1].regions}
        outputs = self.models.predict(regions)
        for row, (place, _) in enumerate(batch):
            rows[place].append({name: softmax[row] for name, softmax in outputs.items()})
        self.on_pages(len(batch))


def _key(group: Group) -> tuple[str | int, ...]:
    # In another process, the upcoming group and the group are equal and not the same.
    return tuple(file if isinstance(file, str) else id(file) for file in group)


def open_remote(setup: Mapping[str, Any]) -> Classifier:
    """A classifier in a process of its own, on any host; setup: `remote_setup`.

    Raises:
        UserError: the run folder is not readable there, or the run is not finished.
    """
    from trainer.device import hide_gpus
    from trainer.serving.ensemble import RegionPages, open_ensemble

    if not setup["gpu"]:
        hide_gpus()
    cut = Cut(setup["regions"], tuple(setup["shape"]), setup["dpi"])
    models = open_ensemble(
        Path(setup["run"]),
        {name: RegionPages(cut.shape, edges) for name, edges in cut.regions.items()},
        model=setup["model"],
    )
    workers = setup["workers"] or max(1, available_cores() // setup["share"])
    decoders = Decoders(cut, workers=workers, page_timeout_s=setup["page_timeout_s"])
    # The process ends with its caller, and the decoders with the process.
    return Classifier(models, decoders.__enter__(), ahead=workers + 1)


def remote_setup(run: Path, cut: Cut, *, model: str, workers: int | None, page_timeout_s: float) -> dict[str, Any]:
    """Plain data for `open_remote`, which also takes `gpu` (whether the process has one) and `share` (of its host)."""
    return {
        "run": str(run.absolute()),
        "model": model,
        "regions": dict(cut.regions),
        "shape": list(cut.shape),
        "dpi": cut.dpi,
        "workers": workers,
        "page_timeout_s": page_timeout_s,
    }
