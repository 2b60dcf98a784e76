"""The stack's job on synthetic members: its files, its figures, and its errors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.errors import UserError
from data_tools.files import read_lines, write_json
from tests.helpers.stacked_run import CLASS_IDS, MEMBERS, make_run, stack
from trainer.scoring.metrics import accuracy
from trainer.scoring.predictions import read_predictions, write_predictions
from trainer.scoring.schema import ClassRow, PairedFigures, SplitFigures, StackResult, ValidationUse
from trainer.stack.fit import METHODS, load_stack
from trainer.stack.job import run
from trainer.training.split import selection_mask


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A stacked run with all defaults, and its result."""
    folder = make_run(tmp_path_factory.mktemp("run"))
    return folder, run({"run": str(folder), "members": list(MEMBERS), "config": {}, "seed": 3})


def test_it_beats_every_member(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    members = [scores["test"]["accuracy"] for scores in result["members_scores"].values()]
    assert result["test_accuracy"] > max(members)
    assert result["paired_test"]["against"] == "holistic_256"
    assert result["paired_test"]["difference"] > 0
    assert result["paired_test"]["p_mid"] < 0.05


def test_all_methods_and_members_are_scored(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    assert list(result["members_scores"]) == result["members"] == list(MEMBERS)
    assert set(result["methods"]) == set(METHODS) == {"mlp", "logistic", "weighted", "average"}
    assert result["scores"] == result["methods"]["mlp"]
    for scores in [*result["methods"].values(), *result["members_scores"].values()]:
        low, high = scores["test"]["accuracy_interval"]
        assert low <= scores["test"]["accuracy"] <= high
        low, high = scores["test"]["accuracy_bootstrap_interval"]
        assert low <= scores["test"]["accuracy"] <= high
        assert [row["class_id"] for row in scores["test"]["per_class"]] == CLASS_IDS.tolist()
    assert [name for name, scores in result["methods"].items() if "calibrated" in scores] == ["mlp", "average"]
    # The plain average is underconfident: members that agree are stronger evidence than each of them alone.
    average = result["methods"]["average"]
    assert average["calibrated"]["temperature"] < 0.8
    assert average["calibrated"]["calibration_error"] < average["test"]["calibration_error"]
    for name, scores in result["members_scores"].items():
        assert scores["calibrated"]["loss"] <= scores["test"]["loss"] + 0.02
        # Logits of this skill and unit noise are calibrated as skill x logit; the members use 1.7 x.
        assert scores["calibrated"]["temperature"] == pytest.approx(1.7 / MEMBERS[name], rel=0.4)


def test_the_result_agrees_with_the_written_predictions(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    for split in ("val", "test"):
        rows = read_predictions(folder / "jobs" / "stack" / "predictions" / f"{split}.npz")
        assert accuracy(rows.labels, rows.softmax) == result[f"{split}_accuracy"]
        assert result["scores"][split]["accuracy"] == result[f"{split}_accuracy"]


def test_the_job_writes_its_files(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    job = folder / "jobs" / "stack"
    assert json.loads((job / "result.json").read_text()) == result
    epochs = read_lines(job / "metrics.jsonl")
    assert [row["epoch"] for row in epochs] == list(range(1, 21))
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert epochs[-1]["val_loss"] is None
    assert json.loads((job / "heartbeat-rank-0.json").read_text())["phase"] == "done"
    assert result["leak_free"] == {
        "on": False, "selection_share": None, "validation_pages": 90, "selected_on": 90, "fitted_on": 90,
    }  # fmt: skip


def test_the_saved_stack_gives_the_recorded_predictions(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    loaded = load_stack(folder / "jobs" / "stack")
    assert loaded.members == tuple(result["members"])
    rows = read_predictions(folder / "jobs" / "stack" / "predictions" / "test.npz")
    files = [folder / "jobs" / name / "predictions" / "test.npz" for name in loaded.members]
    outputs = np.stack([read_predictions(file).softmax for file in files], axis=1)
    assert np.array_equal(loaded.probabilities(outputs), rows.softmax)


def test_the_result_has_the_keys_of_its_schema(finished: tuple[Path, dict[str, Any]]) -> None:
    _, result = finished
    assert StackResult.__required_keys__ <= set(result) <= StackResult.__required_keys__ | StackResult.__optional_keys__
    assert set(result["paired_test"]) == PairedFigures.__required_keys__
    assert set(result["leak_free"]) == ValidationUse.__required_keys__
    for scores in [*result["methods"].values(), *result["members_scores"].values()]:
        # No page of these is of a document with several.
        assert set(scores["test"]) == SplitFigures.__required_keys__ | SplitFigures.__optional_keys__ - {"documents"}
        assert set(scores["test"]["per_class"][0]) == ClassRow.__required_keys__


def test_it_uses_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    visible = list[tuple[list[str], str]]()
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: visible.append((devices, kind)))
    stack(make_run(tmp_path), config={"epochs": 1})
    assert visible == [([], "GPU")]


def test_a_finished_stack_is_not_repeated(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    assert run({"run": str(folder), "members": list(MEMBERS), "config": {}, "seed": 99}) == result


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    kept = ("predictions/val.npz", "predictions/test.npz", "weights.safetensors")
    bytes_of = []
    results = []
    for name, seed in (("sorted", None), ("shuffled", 1)):
        folder = make_run(tmp_path / name, seed=seed)
        results.append(stack(folder))
        bytes_of.append([(folder / "jobs" / "stack" / file).read_bytes() for file in kept])
    assert bytes_of[0] == bytes_of[1]
    for key in ("scores", "methods", "members_scores", "paired_test", "weights_digest"):
        assert results[0][key] == results[1][key]


@pytest.mark.parametrize("members", [("holistic_256",), ("left", "right"), tuple(MEMBERS)])
def test_any_number_of_members(tmp_path: Path, members: tuple[str, ...]) -> None:
    result = stack(make_run(tmp_path), members=members)
    assert result["paired_test"]["against"] == members[0]
    assert list(result["members_scores"]) == list(members)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_can_be_the_stack(tmp_path: Path, method: str) -> None:
    result = stack(make_run(tmp_path), config={"method": method})
    assert result["test_accuracy"] == result["methods"][method]["test"]["accuracy"]
    assert result["parameters"] == {
        "mlp": 30 * 24 + 24 + 24 * 6 + 6, "logistic": 30 * 6 + 6, "weighted": 5, "average": 0,
    }[method]  # fmt: skip


def test_with_ten_validation_pages_it_is_not_worse_than_the_holistic_model(tmp_path: Path) -> None:
    result = run({
        "run": str(make_run(tmp_path, val=10, test=1000)), "members": list(MEMBERS), "config": {}, "seed": 3,
    })  # fmt: skip
    assert result["test_accuracy"] >= result["members_scores"]["holistic_256"]["test"]["accuracy"]


def test_the_leak_free_split_fits_on_the_other_pages(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    for name in MEMBERS:
        write_json(folder / "jobs" / name / "result.json", {"selection_share": 0.4})
    result = stack(folder, config={"leak_free": True, "selection_share": 0.4})
    ids = read_predictions(folder / "jobs" / "top" / "predictions" / "val.npz").ids.tolist()
    selected = int(selection_mask(ids, share=0.4, seed=3).sum())
    assert result["leak_free"] == {
        "on": True, "selection_share": 0.4, "validation_pages": 90, "selected_on": selected,
        "fitted_on": 90 - selected,
    }  # fmt: skip
    assert read_lines(folder / "jobs" / "stack" / "metrics.jsonl")[-1]["val_loss"] > 0


def test_a_leak_is_rejected_as_not_leak_free(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    for name in MEMBERS:
        share = 0.4 if name != "bottom" else None
        write_json(folder / "jobs" / name / "result.json", {"selection_share": share})
    with pytest.raises(UserError, match=r"stack\.leak_free: bottom did not select its best epoch"):
        stack(folder, config={"leak_free": True, "selection_share": 0.4})
    assert not (folder / "jobs" / "stack" / "result.json").exists()


def test_figures_without_duplicates(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    complete = stack(folder)
    rows = read_predictions(folder / "jobs" / "stack" / "predictions" / "test.npz")
    leaked = rows.ids[:50]
    (tmp_path / "leaked.txt").write_text("\n".join(["not/of/this/set.tif", *leaked.tolist()]) + "\n")
    (folder / "jobs" / "stack" / "result.json").unlink()
    result = stack(folder, config={"exclude_ids_file": str(tmp_path / "leaked.txt")})
    rest = result["without_duplicates"]
    assert (rest["left_out"], rest["pages"]) == (50, 350)
    assert rest["scores"]["accuracy"] == accuracy(rows.labels[50:], rows.softmax[50:])
    assert list(rest["members_scores"]) == list(MEMBERS)
    assert result["scores"] == complete["scores"]


def test_if_all_test_pages_are_duplicates_there_are_no_figures(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", test=20)
    (tmp_path / "leaked.txt").write_text("\n".join(f"test/{number:04d}.tif" for number in range(20)))
    result = stack(folder, config={"exclude_ids_file": str(tmp_path / "leaked.txt")})
    assert result["without_duplicates"] == {"left_out": 20, "pages": 0}


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "cannot be read"), ("other.tif\n", "no page of it is in the test set")]
)
def test_a_wrong_list_of_duplicates_is_rejected(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "leaked.txt").write_text(content)
    with pytest.raises(UserError, match=rf"leaked\.txt: .*{problem}"):
        stack(make_run(tmp_path / "run"), config={"exclude_ids_file": str(tmp_path / "leaked.txt")})


@pytest.mark.parametrize(
    ("members", "config", "problem"),
    [
        (("holistic_256", "nobody"), {}, r"nobody/predictions/val\.npz: no such predictions"),
        ((), {}, "no member to join"),
        (tuple(MEMBERS), {"method": "vote"}, r"payload\.config\.method: 'vote' is not one of mlp, logistic"),
        (tuple(MEMBERS), {"hiden": 3}, r"config\.hiden: unknown setting; did you mean hidden"),
        (tuple(MEMBERS), {"epochs": 0}, r"config\.epochs: must be greater than 0"),
        (tuple(MEMBERS), {"selection_share": 1.0}, "selection_share: must lie between 0 and 1"),
        (tuple(MEMBERS), {"l2": -1}, "l2: must not be negative"),
        (tuple(MEMBERS), {"hidden": 2}, r"stack\.hidden: 2 units"),
    ],
)
def test_invalid_input_is_rejected(
    tmp_path: Path, members: tuple[str, ...], config: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        stack(make_run(tmp_path), members=members, config=config)
    assert not (tmp_path / "jobs" / "stack" / "result.json").exists()


def test_a_page_that_is_missing_from_one_member_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    path = folder / "jobs" / "left" / "predictions" / "test.npz"
    rows = read_predictions(path)
    write_predictions(path, rows.rows(rows.ids != "test/0123.tif"))
    with pytest.raises(UserError, match=r"page test/0123\.tif is in .* holistic_256 but not in .* left"):
        stack(folder)
    assert "test/0123.tif" in (folder / "jobs" / "stack" / "log.txt").read_text()


@pytest.mark.parametrize(("left", "attempt"), [('{"attempt": 2}', 3), ("", 1), ('{"att', 1)])
def test_leftovers_of_a_killed_attempt_do_not_matter(tmp_path: Path, left: str, attempt: int) -> None:
    folder = make_run(tmp_path)
    job = folder / "jobs" / "stack"
    job.mkdir()
    (job / "heartbeat-rank-0.json").write_text(left)
    (job / "metrics.jsonl").write_text('{"epoch": 7}\n{"epo')
    (job / "weights.safetensors").write_bytes(b"torn")
    assert stack(folder)["attempt"] == attempt
    assert [row["epoch"] for row in read_lines(job / "metrics.jsonl")] == [1, 2, 3]
    assert load_stack(job).method == "mlp"


def test_class_weights_move_the_answers_to_their_class(tmp_path: Path) -> None:
    def recall_of_class_9(folder: Path, **values: Any) -> float:
        members = {"holistic_256": 1.2, "top": 0.9}
        result = stack(make_run(folder, members=members, test=200), members=tuple(members), **values)
        rows: list[ClassRow] = result["methods"]["logistic"]["test"]["per_class"]
        return next(row["recall"] or 0.0 for row in rows if row["class_id"] == 9)

    plain = recall_of_class_9(tmp_path / "plain")
    assert recall_of_class_9(tmp_path / "weighted", class_weights={"9": 20.0}) > plain + 0.1
