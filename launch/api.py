"""The Python API: load a configuration, convert pages, open a run, classify pages. The command line is a client of it.

    from launch import convert, load_config, open_run

See docs/python.md. `convert` starts processes, so it belongs under `if __name__ == "__main__"` in a script.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_tools.config import read_yaml
from data_tools.conversion.convert import ConversionSummary
from data_tools.cores import available_cores
from data_tools.documents.pixels import PageError, Pixels, read_page
from data_tools.errors import UserError
from launch.config import Config, config_from, load_config
from launch.run.folder import CONFIG, RUN
from launch.run.model import Edges, ModelRecord, model_record
from launch.run.record import JobRecord, read_run
from launch.run.status import State, status_of
from trainer.config import STACK
from trainer.scoring.decision import answering
from trainer.serving.answer import Answer, distinct_names

if TYPE_CHECKING:
    from launch.report.schema import RunFigures
    from trainer.scoring.decision import Policy
    from trainer.serving.classify import Group
    from trainer.serving.decode import Cut, DecodedPart
    from trainer.serving.ensemble import Ensemble

__all__ = ["Config", "Prediction", "Run", "convert", "load_config", "open_run"]

BATCH = 64
"""Files that are classified at once."""

FEW = 16
"""Files below which starting processes takes longer than it saves."""

PageSource = str | Path | NDArray[np.uint8]
"""An image file, or a decoded page: uint8 [h, w], [h, w, 1] or, as RGB, [h, w, 3]."""


def convert(
    config: Config, *, progress: Callable[[int, int, int], None] = lambda done, total, rejected: None
) -> ConversionSummary | None:
    """Convert the pages of `config` into the shard sets that are missing, and check that all sets fit `config`.

    progress: called with the number of pages done, in total and rejected. Returns None if the shards are
    complete and the pages are not on this machine.

    Raises:
        UserError: pages or labels that cannot be used, or shards of another geometry.
    """
    # Its imports include TensorFlow's Keras.
    from launch.recipe.prepare import check_shards, convert_missing

    summary = convert_missing(config, progress=progress)
    check_shards(config)
    return summary


def open_run(folder: str | Path, *, model: str = STACK) -> "Run":
    """Open a run folder, also while a run writes to it, or a copy of one.

    model: what classifies pages: `stack`, or `distilled`, the student that `regionstack distill` has trained.

    Raises:
        UserError: `folder` is not a run folder, or its configuration is corrupt.
    """
    folder = Path(folder)
    if not (folder / CONFIG).exists():
        raise UserError(f"{folder}: not a run folder (no {CONFIG} in it)")
    return Run(folder, config_from(read_yaml(folder / CONFIG)), model)


@dataclass(frozen=True)
class Prediction:
    """What the models of a run say about one page or document.

    page: the path, or the array's position among the pages, as text. outputs: model -> calibrated probabilities float32
    [classes], the stack's last; empty if the page cannot be read. class_names: in the order of the outputs. error: why
    the page cannot be read, or None. number: of the page in its file, from 1; None for a whole document, or for a file
    that cannot be opened. decision: `accepted`, `review` or `unknown`; None without a policy in the run.
    """

    page: str
    outputs: Mapping[str, NDArray[np.float32]]
    class_names: Sequence[str]
    error: str | None = None
    number: int | None = 1
    decision: str | None = None

    @property
    def label(self) -> str | None:
        """Name of the most probable class by the stack, or the student; None for a page that cannot be read."""
        return self.class_names[int(self.outputs[answering(self.outputs)].argmax())] if self.outputs else None

    @property
    def probability(self) -> float:
        """The probability of `label`, 0 to 1; 0 for a page that cannot be read."""
        return float(self.outputs[answering(self.outputs)].max()) if self.outputs else 0.0


@dataclass(frozen=True)
class Run:
    """A run folder. `jobs`, `state` and `metrics` read it anew at each access; the models are loaded once."""

    folder: Path
    config: Config = field(repr=False)
    model: str = STACK

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """What the folder records of each job, in the order of the recipe, the stack last."""
        return read_run(self.folder).jobs

    @property
    def state(self) -> State:
        """`done`, `running`, `waiting`, `failed` or `stopped`."""
        return status_of(read_run(self.folder), now=time.time()).state

    @property
    def metrics(self) -> "RunFigures":
        """The content of `metrics.json`, computed from the folder as it is now; nothing is written."""
        from launch.report.figures import figures
        from launch.report.shard_pages import class_names

        record = read_run(self.folder)
        return figures(record, class_names=class_names(record), now=time.time())

    @cached_property
    def record(self) -> ModelRecord:
        """Classes, boxes and sizes of the run's models.

        Raises:
            UserError: the record is corrupt, or an older version wrote none and nothing else in the folder has it.
        """
        return model_record(self.folder, self.config)

    @cached_property
    def ensemble(self) -> "Ensemble":
        """The trained models and the stack, ready to classify; loading takes seconds.

        Raises:
            UserError: the run is not finished, or a file of it is corrupt.
        """
        from trainer.serving.ensemble import RegionPages, open_ensemble

        record = self.record
        regions = {name: RegionPages(record.shape, edges) for name, edges in record.regions.items()}
        return open_ensemble(self.folder, regions, model=self.model)

    @cached_property
    def regions(self) -> dict[str, Edges]:
        """Boxes of the regions that pages are cut into for `model`.

        Raises:
            UserError: as `record`, or the student is not finished.
        """
        if self.model == STACK:
            return self.record.regions
        from trainer.serving.ensemble import check_model, member_config

        check_model(self.folder, self.model)
        region = member_config(self.folder, self.model).region
        if region not in self.record.regions:
            raise UserError(
                f"{self.folder / RUN}.regions: has no {region}, which {self.model} takes; restore it from a copy"
            )
        return {region: self.record.regions[region]}

    @property
    def class_ids(self) -> list[int]:
        """Class ids in the order of the models' outputs."""
        return self.record.class_ids

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of the models' outputs, each once."""
        return distinct_names(self.class_ids, [entry.name for entry in self.record.classes])

    @cached_property
    def policy(self) -> "Policy | None":
        """What calibrates and decides; None for a run of an earlier version.

        Raises:
            UserError: its file is damaged.
        """
        from trainer.scoring.decision import read_policy

        return read_policy(self.folder, self.model)

    def predict(
        self,
        pages: Iterable[PageSource],
        *,
        on_image: Callable[[str, Pixels], None] | None = None,
        workers: int | None = None,
    ) -> Iterator[Prediction]:
        """Classify pages and documents, in their order, 64 files at a time, while the next 64 are decoded.

        workers: processes that decode files; None: one a core, or this process if there are fewer than 16 files.
        on_image: called with the first page of each readable file, decoded: uint8 [h, w], or [h, w, 3] for a run in
        color; this process decodes then.

        Raises:
            UserError: the run is not finished; or an array is not a page of the run's kind.
        """
        from launch.predict.answers import Judgement
        from launch.predict.engine import classify_in_turn, cut_of
        from trainer.serving.classify import Classifier
        from trainer.serving.decode import Decoders

        cut, judgement, numbered = cut_of(self), Judgement(self.class_names, self.policy), enumerate(pages)
        names: deque[list[str]] = deque()

        def groups() -> "Iterator[Group]":
            while chunk := list(islice(numbered, BATCH)):
                names.append([_name(number, page) for number, page in chunk])
                here = workers is None and len(chunk) < FEW
                pages = zip(names[-1], chunk, strict=True)
                yield tuple(_file(name, page, cut, on_image, here=here) for name, (_, page) in pages)

        decoders = Decoders(cut, workers=workers or available_cores(), page_timeout_s=self.config.shards.page_timeout_s)
        with decoders:
            for files in classify_in_turn(Classifier(self.ensemble, decoders), groups()):
                for name, file in zip(names.popleft(), files, strict=True):
                    for answer in judgement.answers(name, file):
                        yield _prediction(answer, self.class_names)


def _name(number: int, page: PageSource) -> str:
    return str(number) if isinstance(page, np.ndarray) else str(page)


def _file(
    name: str, page: PageSource, cut: "Cut", on_image: Callable[[str, Pixels], None] | None, *, here: bool
) -> "str | DecodedPart":
    """What the classifier takes: a path, or pages that this process has decoded (files only if `here`)."""
    from trainer.serving.decode import NEXT_PAGES, DecodedPage, DecodedPart, Part, decode_part

    if not isinstance(page, np.ndarray) and on_image is None:
        path = str(Path(page).absolute())
        decoded = decode_part(Part(path, most=NEXT_PAGES), cut) if here else None
        return path if decoded is None or decoded.of > NEXT_PAGES else decoded
    try:
        image = _image_of(page, name, cut.color)
    except PageError as error:
        return DecodedPart([], 0, str(error))
    if on_image is not None:
        on_image(name, image)
    return DecodedPart([DecodedPage(1, cut.of(image))], 1)


def _prediction(answer: Answer, names: Sequence[str]) -> Prediction:
    place = answer.place
    outputs = {
        model: np.array([shares[name] for name in names], np.float32) for model, shares in answer.probabilities.items()
    }
    return Prediction(place.source, outputs, names, answer.error, place.page, answer.decision)


def _image_of(page: PageSource, name: str, color: bool) -> Pixels:
    """A page decoded: uint8 [h, w], or [h, w, 3] with `color`."""
    if not isinstance(page, np.ndarray):
        return read_page(page, color=color)
    shapes = "[h, w, 3]" if color else "[h, w] or [h, w, 1]"
    fits = page.ndim == 3 and page.shape[2] == 3 if color else page.ndim == 2 or page.shape[2:] == (1,)
    if page.dtype != np.uint8 or not fits or page.size == 0:
        raise UserError(f"page {name}: the run takes uint8 {shapes}, and this is {page.dtype} {list(page.shape)}")
    return page if color else page.reshape(page.shape[:2])
