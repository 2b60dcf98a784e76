"""The pages of a training job: what it trains on, what it holds out, and the weights of their classes."""

from dataclasses import dataclass, replace
from pathlib import Path

from data_tools.errors import UserError
from data_tools.labels.classes.weights import weight_of_each
from data_tools.shards.manifest import Manifest
from data_tools.shards.reader import ShardSet
from trainer.config import JobConfig, JobPayload
from trainer.job_folder.corrections import kept_corrections
from trainer.job_folder.duplicates import kept_groups
from trainer.job_folder.journal import job_folder
from trainer.soft_targets.targets import TargetRows, open_student_pages
from trainer.training.split import held_out_pages


@dataclass(frozen=True)
class Data:
    """The shard sets of a job's region. targets: the teacher's answers for the pages of `train`, of a student.

    held_out: the training pages of the job's fold, which are not in `train`; None without a fold.
    """

    train: ShardSet
    val: ShardSet
    test: ShardSet
    targets: TargetRows | None = None
    held_out: ShardSet | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of `train`; all three agree on everything that shapes the model."""
        return self.train.manifest

    @property
    def to_predict(self) -> dict[str, ShardSet]:
        """The pages that the finished model predicts, by the name of their predictions file: none of `train`."""
        held_out = {} if self.held_out is None else {"train": self.held_out}
        return {**held_out, "val": self.val, "test": self.test}


def open_job_data(job: JobPayload) -> Data:
    """`open_data` of a job, without the pages of its fold, and with the targets of a student.

    Raises:
        UserError: as `open_data`; a fold without pages; or a teacher's targets that are missing or do not fit.
    """
    config = job.config
    data = open_data(config, Path(job.run))
    if config.fold is not None:
        groups = kept_groups(Path(job.run)) if config.fold.grouped else ()
        held_out = held_out_pages(data.train, config.fold, seed=config.seed, groups=groups)
        data = replace(data, train=data.train.subset(~held_out), held_out=data.train.subset(held_out))
    if config.distill is not None:
        teacher = job_folder(Path(job.run), config.distill.teacher)
        train, targets = open_student_pages(data.train, teacher, config.distill)
        data = replace(data, train=train, targets=targets)
    return data


def open_data(config: JobConfig, run: Path) -> Data:
    """Open the shard sets of the job's region, with the corrections in the folder `run` if the job applies them.

    Raises:
        UserError: a shard set is missing, sizes or classes differ, or corrections are missing or do not fit.
    """
    corrections = kept_corrections(run) if config.corrected else None
    sets = {
        split: ShardSet.open(Path(config.shards) / split / config.region, corrections=corrections)
        for split in ("train", "val", "test")
    }
    first = sets["train"].manifest
    for split, shards in sets.items():
        for name in ("height", "width", "channels", "class_ids"):
            ours, theirs = getattr(first, name), getattr(shards.manifest, name)
            if ours != theirs:
                where = f"{config.shards}: {name} of {split}"
                raise UserError(f"{where} is {theirs}, but of train {ours}; convert them together")
    return Data(sets["train"], sets["val"], sets["test"])


def class_weights_of(config: JobConfig, manifest: Manifest) -> list[float] | None:
    """The weight of each class in the job's loss, by the training pages in `manifest`; None: no weights.

    Raises:
        UserError: a weight for a class that does not exist.
    """
    if config.class_weights is None:
        return None
    counts = [manifest.histogram[class_id] for class_id in manifest.class_ids]
    return weight_of_each(config.class_weights, manifest.class_ids, manifest.class_names, counts)
