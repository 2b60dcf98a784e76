"""A run folder says by itself what its models take and answer, and finds the shards that it was made from."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from data_tools.errors import UserError
from data_tools.shards.manifest import FORMAT, Manifest, write_manifest
from launch.commands.score import evaluate
from launch.config import Config, load_config, resolved
from launch.run.model import KEYS, check_shards, complete_record, find_shards, model_record, other_pages, record_model

BOXES = {"holistic": (0.0, 0.0, 1.0, 1.0), "left": (0.0, 0.0, 0.5, 1.0)}


def manifest(region: str, split: str, **changes: object) -> Manifest:
    plain = Manifest(
        region=region, split=split, box=BOXES[region], height=64, width=48, channels=1, encoding="raw", count=0,
        rejected=0, class_ids=(2, 7), class_names=("form", "memo"), histogram={}, shards=(), index_crc32c="",
        ids_crc32c="", labels_fingerprint=f"labels of {split}", settings={}, seed=1, version=FORMAT, decoder="5.0",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def make_shards(folder: Path, **changes: object) -> Path:
    for split in ("train", "val", "test"):
        for region in BOXES:
            (folder / split / region).mkdir(parents=True)
            write_manifest(folder / split / region, manifest(region, split, **changes))
    return folder


def make_run(folder: Path, shards: Path, *, record: bool = True) -> Config:
    """A finished run; without `record`, as an older version left it."""
    config = load_config("demo", [f"shards.folder={shards}", "regions={left: [0, 0, 0.5, 1]}", "shards.width=48"])
    (folder / "jobs" / "stack").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(resolved(config)))
    (folder / "run.json").write_text('{"jobs": ["holistic_32", "stack"]}')
    (folder / "jobs" / "stack" / "stack.json").write_text('{"members": [], "class_ids": [2, 7], "method": "mlp"}')
    if record:
        record_model(folder, shards)
    return config


@pytest.mark.parametrize("record", [True, False])
def test_a_copy_knows_its_classes_and_boxes_without_the_shards(tmp_path: Path, record: bool) -> None:
    config = make_run(tmp_path / "run", make_shards(tmp_path / "shards"), record=record)
    first = model_record(tmp_path / "run", config)
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "copy")
    shutil.rmtree(tmp_path / "shards")
    shutil.rmtree(tmp_path / "run")
    copied = model_record(tmp_path / "elsewhere" / "copy", config)
    assert copied == first
    assert [(entry.id, entry.name) for entry in copied.classes] == [(2, "form"), (7, "memo")]
    assert copied.regions == BOXES
    assert copied.shape == (64, 48, 1)


def test_the_record_keeps_what_is_known_and_is_written_once(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards")
    make_run(tmp_path / "run", shards)
    path = tmp_path / "run" / "run.json"
    assert json.loads(path.read_text())["jobs"] == ["holistic_32", "stack"]
    before = path.stat().st_ino
    record_model(tmp_path / "run", shards)
    assert path.stat().st_ino == before


def test_an_old_run_without_its_shards_has_the_names_of_its_configuration(tmp_path: Path) -> None:
    make_run(tmp_path / "run", tmp_path / "gone", record=False)
    names = tmp_path / "names.txt"
    names.write_text("2 form\n7 memo\n")
    config = load_config("demo", [f"data.class_names={names}", f"shards.folder={tmp_path / 'gone'}"])
    found = model_record(tmp_path / "run", config)
    assert [entry.name for entry in found.classes] == ["form", "memo"]
    assert "classes" not in json.loads((tmp_path / "run" / "run.json").read_text()), "the shards may come back"


def test_shards_of_other_classes_name_nothing(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", class_ids=(0, 1))
    config = make_run(tmp_path / "run", shards, record=False)
    assert model_record(tmp_path / "run", config).class_ids == [2, 7]


def test_a_folder_that_says_nothing_of_its_classes_is_refused(tmp_path: Path) -> None:
    config = make_run(tmp_path / "run", tmp_path / "gone", record=False)
    shutil.rmtree(tmp_path / "run" / "jobs")
    with pytest.raises(UserError, match="not finished"):
        model_record(tmp_path / "run", config)


def test_the_next_command_completes_an_old_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run", make_shards(tmp_path / "shards"), record=False)
    complete_record(tmp_path / "run")
    assert set(KEYS) <= set(json.loads((tmp_path / "run" / "run.json").read_text()))
    complete_record(tmp_path)  # no run at all: the command itself says so


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": [{"id": "two", "name": "form"}]},
        {"page": None},
        {"page": {"height": 0, "width": 48, "channels": 1}},
        {"page": {"height": 64, "width": 48, "channels": 4}},
        {"regions": {"left": [0, 1]}},
        {"regions": {"left": [0, 0, math.nan, 1]}},
        {"regions": {"left": [0.5, 0, 0, 1]}},
    ],
)
def test_a_corrupt_record_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    config = make_run(tmp_path / "run", make_shards(tmp_path / "shards"))
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=f"run.json.{next(iter(changes))}.*copy of the run"):
        model_record(tmp_path / "run", config)


def test_shards_are_found_where_they_were_and_beside_the_run(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "made" / "shards")
    config = make_run(tmp_path / "made" / "run", shards)
    record = model_record(tmp_path / "made" / "run", config)
    assert find_shards(tmp_path / "made" / "run", record, "test") == shards
    shutil.move(tmp_path / "made", tmp_path / "moved")
    assert find_shards(tmp_path / "moved" / "run", record, "test") == tmp_path / "moved" / "shards"


def test_shards_that_are_given_must_be_those_of_the_run(tmp_path: Path) -> None:
    config = make_run(tmp_path / "run", make_shards(tmp_path / "shards"))
    record = model_record(tmp_path / "run", config)
    for split in ("train", "val", "test"):
        check_shards(tmp_path / "shards", record, split)
    (tmp_path / "shards").rename(tmp_path / "far")
    check_shards(tmp_path / "far", record, "train")
    with pytest.raises(UserError, match=r"^--shards .*shards: not the train shards of this run: absent$"):
        check_shards(tmp_path / "shards", record, "train")


def test_shards_of_other_pages_are_passed_over_and_named(tmp_path: Path) -> None:
    config = make_run(tmp_path / "made" / "run", make_shards(tmp_path / "made" / "shards"))
    record = model_record(tmp_path / "made" / "run", config)
    shutil.copytree(tmp_path / "made" / "run", tmp_path / "other" / "run")
    shutil.rmtree(tmp_path / "made")
    other = make_shards(tmp_path / "other" / "shards", labels_fingerprint="others")
    with pytest.raises(UserError) as caught:
        find_shards(tmp_path / "other" / "run", record, "test")
    assert str(other) in str(caught.value)
    assert str(tmp_path / "made" / "shards") in str(caught.value)
    assert "--shards" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"height": 128, "width": 96}, True),  # a model reduces larger pages
        ({"box": (0.0, 0.0, 0.4, 1.0)}, False),
        ({"class_ids": (2, 9)}, False),
        ({"class_ids": (7, 2)}, False),
        ({"channels": 3}, False),
    ],
)
def test_other_shards_are_compared_with_what_the_models_learned(
    tmp_path: Path, changes: dict[str, object], fits: bool
) -> None:
    config = make_run(tmp_path / "run", make_shards(tmp_path / "shards"))
    record = model_record(tmp_path / "run", config)
    assert (other_pages(manifest("left", "test", **changes), "left", record) is None) == fits


@pytest.mark.parametrize("changes", [{"box": (0.1, 0.0, 1.0, 1.0)}, {"class_ids": (2, 9)}])
def test_evaluate_refuses_shards_of_other_boxes_or_classes(tmp_path: Path, changes: dict[str, object]) -> None:
    make_run(tmp_path / "run", make_shards(tmp_path / "shards"))
    others = make_shards(tmp_path / "others", **changes)
    with pytest.raises(UserError, match=f"{others}.*the run was trained on"):
        evaluate(tmp_path / "run", split="test", shards=str(others))


def test_every_key_of_the_record_is_written(tmp_path: Path) -> None:
    make_run(tmp_path / "run", make_shards(tmp_path / "shards"))
    assert set(KEYS) <= set(json.loads((tmp_path / "run" / "run.json").read_text()))


@pytest.mark.parametrize(
    "classes",
    [
        [{"id": 7, "name": "memo"}, {"id": 2, "name": "form"}],
        [{"id": 2, "name": "form"}],
        [{"id": 2, "name": "form"}, {"id": 7, "name": "memo"}, {"id": 9, "name": "note"}],
    ],
)
def test_a_record_of_other_classes_than_the_stack_s_is_refused(tmp_path: Path, classes: list[object]) -> None:
    config = make_run(tmp_path / "run", make_shards(tmp_path / "shards"))
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"classes": classes}))
    with pytest.raises(UserError, match=r"run\.json\.classes: .*stack\.json has \[2, 7\].*copy of the run"):
        model_record(tmp_path / "run", config)


@pytest.mark.parametrize("metrics", ["null", "[]", '{"classes": 5}', '{"classes": [{"id": "two", "name": "form"}]}'])
def test_a_damaged_report_names_no_class(tmp_path: Path, metrics: str) -> None:
    config = make_run(tmp_path / "run", tmp_path / "gone", record=False)
    (tmp_path / "run" / "metrics.json").write_text(metrics)
    assert [entry.name for entry in model_record(tmp_path / "run", config).classes] == ["2", "7"]
