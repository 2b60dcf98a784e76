"""The student of a finished run as jobs: the teacher's answers, then the training of one model. Runs nothing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.schedule.job import JobSpec
from data_tools.config import differences, from_mapping, override, read_yaml, to_mapping
from data_tools.documents.regions import HOLISTIC
from data_tools.errors import UserError
from data_tools.shards.shard_set import ShardSet
from launch.config import Config, config_from, resolved
from launch.recipe.jobs import payload
from launch.recipe.prepare import weights_path
from launch.recipe.stages import plan_recipe
from trainer.config import START_FROM_WEIGHTS, JobConfig, StageConfig
from trainer.distill.student import holistic_member
from trainer.distill.teacher import TeacherPayload, has_out_of_fold
from trainer.job_folder.corrections import kept_corrections
from trainer.job_folder.journal import CONFIG, RESULT, job_folder
from trainer.serving.ensemble import member_config
from trainer.soft_targets.config import DISTILLED, START_HOLISTIC, TEACHER, Distillation, DistillConfig
from trainer.stack.out_of_fold import jobs_of_member

SETTABLE = ("distill", "cluster", "checkpoint")
"""Sections whose settings `regionstack distill` may change; all others are those of the run."""


@dataclass(frozen=True)
class Pages:
    """What a student trains on. shards: folder of the run's shard sets; unlabelled: pages without a label."""

    shards: Path
    labelled: int
    unlabelled: int


@dataclass(frozen=True)
class StudentPlan:
    """The two jobs of a distillation."""

    teacher: TeacherPayload
    student: JobConfig


def with_settings(config: Config, run: Path, assignments: Collection[str]) -> Config:
    """The configuration of a run that lies at `run`, with `a.b=value` assignments.

    Raises:
        UserError: an assignment outside `SETTABLE`, an unknown setting, or a value that does not fit.
    """
    for text in assignments:
        if text.partition("=")[0].partition(".")[0] not in SETTABLE:
            raise UserError(
                f"--set {text}: only {', '.join(f'{name}.*' for name in SETTABLE)} can be set here; the student has "
                "the other settings of its run"
            )
    return config_from(override({**resolved(config), "run": {"folder": str(run)}}, list(assignments)))


def plan_student(config: Config, pages: Pages, *, stack: str) -> StudentPlan:
    """The jobs of a distillation; stack: digest of the stack's weights.

    Raises:
        UserError: the stack has no whole-page member, a job of the run has one of the two names, `distill.start` is no
            job of the run with the same network, or `distill.epochs` are too few for the stage's warm-up.
    """
    run = config.paths.run
    check_names(config)
    base = member_config(run, holistic_member(run))
    if base.region != HOLISTIC:
        raise UserError(
            f"{run}: no member of its stack sees the whole page, so there is no model to train as a student"
        )
    settings = config.distill
    start = _start_job(run, config, base, settings.start)
    student = replace(
        base,
        name=DISTILLED,
        stage_name=DISTILLED,
        shards=str(pages.shards),
        stage=_stage(base.stage, settings, warm=start is not None),
        checkpoint=config.checkpoint,
        start_job=start,
        weights_file=_weights_file(config) if start is None else None,
        distill=Distillation(
            temperature=settings.temperature,
            alpha=settings.alpha,
            pages=pages.labelled + pages.unlabelled,
            unlabelled=pages.unlabelled,
        ),
    )
    teacher = TeacherPayload(
        run=str(run),
        shards=str(pages.shards),
        unlabelled=pages.unlabelled,
        stack=stack,
        corrected=base.corrected,
        out_of_fold=settings.out_of_fold and has_out_of_fold(run),
    )
    return StudentPlan(teacher, student)


def training_pages(config: Config, shards: Path) -> ShardSet:
    """The run's whole training pages, with its corrections."""
    corrections = kept_corrections(config.paths.run) if config.data.corrections is not None else None
    return ShardSet.open(shards / "train" / HOLISTIC, corrections=corrections)


def check_names(config: Config) -> None:
    """Check that no stage or region of the run has a name that its folder needs for the student.

    Raises:
        UserError: one has.
    """
    for job in plan_recipe(config).jobs:
        if job.name in (TEACHER, DISTILLED):
            raise UserError(f"{config.paths.run}: has a job named {job.name}, a name that the student's jobs need")


def _stage(base: StageConfig, settings: DistillConfig, *, warm: bool) -> StageConfig:
    """The whole-page job's stage for the student; a warm start has a trained head already."""
    epochs = settings.epochs or base.epochs
    optimizer = base.optimizer
    if settings.learning_rate is not None:
        optimizer = replace(optimizer, learning_rate=settings.learning_rate)
    head = 0 if warm else min(base.head_epochs, epochs - 1)
    rate = base.head_learning_rate if head else None
    try:
        return replace(
            base, epochs=epochs, optimizer=optimizer, fresh=(), head_epochs=head, head_learning_rate=rate,
            start=settings.start,
        )  # fmt: skip
    except UserError as error:  # of the stage, whose other settings are those of the run
        raise UserError(f"distill.epochs: {epochs} are too few for the whole-page stage ({error})") from None


def _start_job(run: Path, config: Config, base: JobConfig, start: str) -> str | None:
    if start == START_FROM_WEIGHTS:
        return None
    if start == START_HOLISTIC:
        # A member that is the average of its folds' models has no weights of its own; the first of them has.
        return jobs_of_member(run, base.name)[0]
    known = [job.name for job in plan_recipe(config).jobs]
    if start not in known:
        names = ", ".join([START_HOLISTIC, START_FROM_WEIGHTS, *known])
        raise UserError(f"distill.start: {start} is no job of {run}; choose from {names}")
    return start


def _weights_file(config: Config) -> str | None:
    path = weights_path(config)
    if path is not None and not path.is_file():
        raise UserError(f"{path}: the run's start weights are missing; set distill.start=holistic")
    return None if path is None else str(path)


def check_same(run: Path, plan: StudentPlan) -> None:
    """Check that an earlier call has not begun the same jobs in another way.

    Raises:
        UserError: it has; the text names the settings.
    """
    for name, ours in ((TEACHER, to_mapping(plan.teacher)), (DISTILLED, to_mapping(plan.student))):
        path = job_folder(run, name) / CONFIG
        if not path.exists():
            continue
        kept = {"checkpoint", "shards", "run", "weights_file"}
        recorded = _with_defaults(read_yaml(path)) if name == DISTILLED else read_yaml(path)
        changed = differences(_without(recorded, kept), _without(ours, kept))
        if changed:
            folders = f"{job_folder(run, TEACHER)} and {job_folder(run, DISTILLED)}"
            raise UserError(
                f"{path.parent}: was begun with other settings ({'; '.join(changed)}); give the same again, or delete "
                f"{folders} to start over"
            )


def _with_defaults(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded job with the defaults of settings that are newer than it."""
    try:
        return dict(to_mapping(from_mapping(JobConfig, recorded, where="")))
    except UserError:
        return recorded


def _without(mapping: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


def student_specs(config: Config, plan: StudentPlan, unfinished: Collection[str]) -> list[JobSpec]:
    """The jobs named in `unfinished` as the scheduler takes them."""
    run = config.paths.run
    folders = {name: str(job_folder(run, name)) for name in (TEACHER, DISTILLED)}
    teacher = JobSpec(
        name=TEACHER,
        target="trainer.distill.teacher:run",
        payload=dict(to_mapping(plan.teacher)),
        workers=1,
        logs=folders[TEACHER],
        heartbeats=folders[TEACHER],
    )
    student = JobSpec(
        name=DISTILLED,
        target="trainer.job:run",
        payload=payload(plan.student, run),
        depends_on=(TEACHER,) if TEACHER in unfinished else (),
        global_batch=plan.student.stage.pages_at_once,
        logs=folders[DISTILLED],
        heartbeats=folders[DISTILLED],
    )
    return [spec for spec in (teacher, student) if spec.name in unfinished]


def unfinished_of(run: Path) -> list[str]:
    """Which of the two jobs have no result yet."""
    return [name for name in (TEACHER, DISTILLED) if not (job_folder(run, name) / RESULT).exists()]


def require_finished(config: Config) -> None:
    """Check that all jobs of the run are done.

    Raises:
        UserError: one is not.
    """
    run = config.paths.run
    for name in plan_recipe(config).job_names:
        if not (job_folder(run, name) / RESULT).exists():
            raise UserError(f"{run}: {name} is not finished; a student learns from a finished run: run train-all first")
