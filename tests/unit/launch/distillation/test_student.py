"""The two jobs of a distillation, planned from a run folder; what an earlier call has begun is kept or refused."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_tools.config import to_mapping
from data_tools.errors import UserError
from data_tools.files import sha256, write_json
from launch.config import Config, load_config, resolved
from launch.distillation.student import (
    Pages,
    StudentPlan,
    check_same,
    plan_student,
    require_finished,
    student_specs,
    unfinished_of,
    with_settings,
)
from launch.recipe.stages import plan_recipe
from trainer.config import STACK
from trainer.soft_targets.config import DISTILLED, TEACHER
from trainer.stack.fit import FittedStack, save_stack
from trainer.stack.mlp import Mlp

SETTINGS = ["model.weights=none", "stages.holistic_64.head_epochs=1"]


def finished_run(folder: Path, *settings: str) -> Config:
    """A run folder that holds what planning a student needs: configurations, results and the stack."""
    config = load_config("demo", [*SETTINGS, *settings, f"run.folder={folder}"])
    (folder / "config.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved(config)))
    recipe = plan_recipe(config)
    for job in recipe.jobs:
        place = folder / "jobs" / job.name
        place.mkdir(parents=True)
        (place / "config.yaml").write_text(yaml.safe_dump(to_mapping(job)))
        write_json(place / "result.json", {"region": job.region})
    members, nothing = recipe.members, np.zeros((0, 0), np.float32)
    stack = FittedStack(members, np.arange(2), "average", np.ones(len(members)), np.zeros((2 * len(members), 2)),
                        np.zeros(2), Mlp(nothing, nothing, nothing, nothing))  # fmt: skip
    save_stack(folder / "jobs" / STACK, stack)
    digest = sha256(folder / "jobs" / STACK / "weights.safetensors")
    write_json(folder / "jobs" / STACK / "result.json", {"members": list(members), "weights_digest": digest})
    return config


def plan(config: Config, *, unlabelled: int = 0, **settings: Any) -> StudentPlan:
    config = replace(config, distill=replace(config.distill, **settings))
    return plan_student(config, Pages(Path("/shards"), 100, unlabelled), stack="digest")


def test_the_student_is_the_whole_page_job_with_a_teacher_and_its_weights(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    whole = plan_recipe(config).job("holistic_64")
    made = plan(config, unlabelled=7, temperature=3.0, epochs=4, learning_rate=0.5)
    student = made.student
    assert (student.name, student.start_job, student.weights_file) == (DISTILLED, "holistic_64", None)
    assert (student.model, student.training, student.seed) == (whole.model, whole.training, whole.seed)
    assert (student.stage.image_px, student.stage.epochs) == (whole.stage.image_px, 4)
    assert student.stage.optimizer == replace(whole.stage.optimizer, learning_rate=0.5)
    assert student.stage.head_epochs == 0, "its head is trained already"
    assert student.distill is not None
    assert (student.distill.temperature, student.distill.pages, student.distill.unlabelled) == (3.0, 107, 7)
    assert (made.teacher.unlabelled, made.teacher.shards, made.teacher.out_of_fold) == (7, "/shards", False)


def test_from_start_weights_the_head_is_trained_first_as_the_stage_says(tmp_path: Path) -> None:
    student = plan(finished_run(tmp_path), start="weights").student
    assert (student.start_job, student.stage.head_epochs) == (None, 1)


@pytest.mark.parametrize(("settings", "fits"), [({"epochs": 2}, True), ({"epochs": 1}, False), ({}, True),
                                                ({"epochs": 3, "start": "weights"}, False)])  # fmt: skip
def test_epochs_that_the_warm_up_of_a_cosine_fills_are_named_as_the_students(
    tmp_path: Path, settings: dict[str, Any], fits: bool
) -> None:
    stage = "stages.holistic_64"
    config = finished_run(tmp_path, f"{stage}.schedule=cosine", f"{stage}.optimizer.warmup_epochs=1",
                          f"{stage}.head_epochs=2", f"{stage}.epochs=6")  # fmt: skip
    with nullcontext() if fits else pytest.raises(UserError, match=r"^distill\.epochs: \d are too few .*warm"):
        plan(config, **settings)


def test_another_job_to_start_from_must_exist(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    assert plan(config, start="holistic_32").student.start_job == "holistic_32"
    with pytest.raises(UserError, match=r"distill\.start: nothing .*holistic_32"):
        plan(config, start="nothing")


def test_a_member_that_is_an_average_gives_the_weights_of_its_first_model(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    write_json(tmp_path / "jobs" / "holistic_64" / "result.json", {"region": "holistic", "models": ["a", "b"]})
    assert plan(config).student.start_job == "a"


def test_out_of_fold_outputs_are_used_where_all_members_have_them(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    for name in plan_recipe(config).members:
        assert not plan(config).teacher.out_of_fold
        (tmp_path / "jobs" / name / "predictions").mkdir()
        (tmp_path / "jobs" / name / "predictions" / "train.npz").touch()
    assert plan(config).teacher.out_of_fold
    assert not plan(config, out_of_fold=False).teacher.out_of_fold


def test_a_run_without_a_whole_page_member_has_no_student(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    for name in ("holistic_32", "holistic_64"):
        job = plan_recipe(config).job(name)
        other = tmp_path / "jobs" / name
        (other / "config.yaml").write_text(yaml.safe_dump(to_mapping(replace(job, region="top"))))
        write_json(other / "result.json", {"region": "top"})
    with pytest.raises(UserError, match="whole page"):
        plan(config)


def test_an_unfinished_run_is_refused_by_the_name_of_the_job(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    require_finished(config)
    (tmp_path / "jobs" / "top" / "result.json").unlink()
    with pytest.raises(UserError, match="top is not finished"):
        require_finished(config)


def test_what_was_begun_is_continued_and_other_settings_are_refused(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    first = plan(config)
    check_same(tmp_path, first)
    for name, value in ((TEACHER, first.teacher), (DISTILLED, first.student)):
        (tmp_path / "jobs" / name).mkdir()
        (tmp_path / "jobs" / name / "config.yaml").write_text(yaml.safe_dump(to_mapping(value)))
    check_same(tmp_path, plan(config))
    check_same(tmp_path, plan_student(config, Pages(Path("/moved"), 100, 0), stack="digest"))
    for other, named in (
        (plan(config, temperature=5.0), "temperature"),
        (plan(config, epochs=99), "epochs"),
        (plan(config, unlabelled=3), "unlabelled"),
        (plan_student(config, Pages(Path("/shards"), 100, 0), stack="another"), "stack"),
    ):
        with pytest.raises(UserError, match=named) as caught:
            check_same(tmp_path, other)
        assert "delete" in str(caught.value)


def test_the_student_waits_for_its_teacher_unless_that_is_done(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    assert unfinished_of(tmp_path) == [TEACHER, DISTILLED]
    teacher, student = student_specs(config, plan(config), unfinished_of(tmp_path))
    assert (teacher.workers, student.workers, student.depends_on) == (1, None, (TEACHER,))
    (tmp_path / "jobs" / TEACHER).mkdir()
    write_json(tmp_path / "jobs" / TEACHER / "result.json", {})
    (student,) = student_specs(config, plan(config), unfinished_of(tmp_path))
    assert student.depends_on == ()


def test_only_settings_of_the_student_can_be_set(tmp_path: Path) -> None:
    config = finished_run(tmp_path)
    changed = with_settings(config, tmp_path, ["distill.alpha=0.25", "cluster.slots=3", "distill.alpha=0.5"])
    assert (changed.distill.alpha, changed.cluster.slots, changed.model) == (0.5, 3, config.model)
    for text in ("model.dropout=0.1", "stages.holistic_64.epochs=3", "seed=2"):
        with pytest.raises(UserError, match=text.partition("=")[0]):
            with_settings(config, tmp_path, [text])
    for text in ("distill.alpha=2", "distill.nothing=1", "distill.temperature=warm", "distill.alpha"):
        with pytest.raises(UserError, match="distill"):
            with_settings(config, tmp_path, [text])


def test_train_all_accepts_a_run_whose_students_settings_changed(tmp_path: Path) -> None:
    from launch.run.folder import open_run

    config = finished_run(tmp_path)
    assert open_run(replace(config, distill=replace(config.distill, temperature=9.0))) == tmp_path
