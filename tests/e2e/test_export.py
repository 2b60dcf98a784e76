"""The exported model loads with TensorFlow alone and reproduces the recorded predictions."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from data_tools.config import to_mapping
from data_tools.conversion.convert import DataConfig, ShardConfig, convert
from data_tools.documents.pixels import read_page
from data_tools.documents.regions import PRESETS, WHOLE_PAGE
from data_tools.drawn import draw_data_set
from data_tools.errors import UserError
from data_tools.files import write_json
from data_tools.shards.reader import ShardSet
from launch.api import open_run
from launch.cli import main
from launch.commands.score import ensemble_for_shards, evaluate
from launch.report.report import write_report
from trainer.config import CheckpointConfig, JobConfig, ModelConfig, StageConfig, TrainingConfig, ViewsConfig
from trainer.export.artifact import Format
from trainer.export.export import ExportRequest, export
from trainer.export.source import RunPages
from trainer.network.classifier import Geometry, build_classifier
from trainer.network.views import with_views
from trainer.network.weights import load_arrays, named, save_arrays
from trainer.scoring.decision import calibrate, judge, policy_file, read_policy
from trainer.scoring.predictions import Predictions, read_predictions, write_predictions
from trainer.serving.ensemble import RegionPages
from trainer.stack import job as stack

MEMBERS = {"holistic_32": "holistic", "left": "left", "top": "top"}
IMAGE_PX = {"holistic_32": 32, "left": 40, "top": 64}
"""Heights that the models work at; the stored ones are 64 px, which is no multiple of 40."""
VIEWS = {"holistic_32": ViewsConfig(), "left": ViewsConfig(), "top": ViewsConfig(shift=0.05, scale=0.05)}
"""Test-time augmentation of one of them."""
QUICK = ExportRequest(measure=False)
MODEL = ModelConfig(backbone="SmallConvNet", weights="none", dense=(8,), dropout=0.1)

STRANGER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("trainer", "data_tools", "launch", "cluster"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
try:
    import trainer
except ModuleNotFoundError:
    print("the project cannot be imported")
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
given = np.load(sys.argv[2])
file = {"file_" + n: o.numpy() for n, o in model.encoded(tf.io.read_file("page.png")).items()}
pages = {name: tf.constant(given[name]) for name in ("holistic", "left", "top")}
outputs = {name: output.numpy() for name, output in model.regions(pages).items()}
page = {"page_" + name: output.numpy() for name, output in model.page(tf.constant(given["page"])).items()}
named = {"signature_" + n: o.numpy() for n, o in model.signatures["serving_default"](**pages).items()}
classes = {"class_ids": model.class_ids.numpy(), "class_names": model.class_names.numpy().astype("S")}
np.savez(sys.argv[3], **outputs, **page, **file, **named, **classes)
"""

ON_EACH_PAGE = """
import pathlib, shutil
code = pathlib.Path("card.py").read_text()
for page in sorted(pathlib.Path("pages").iterdir()):
    shutil.copy(page, "page.png")
    exec(code, {})
"""


def save_as_people_have_it(page: NDArray[np.uint8], folder: Path) -> list[Path]:
    """`page` [h, w] on opaque paper, as ink on transparent paper, and lying on its side; files in order of name."""
    folder.mkdir()
    ink = 255 - page
    black = np.zeros_like(page)
    palette = Image.fromarray(page, "L")
    palette.putpalette(bytes(768))
    on_its_side = Image.Exif()
    on_its_side[0x0112] = 6
    Image.fromarray(page).save(folder / "a_opaque.png")
    Image.fromarray(np.dstack([black, black, black, ink])).save(folder / "b_rgba.png")
    Image.fromarray(np.dstack([black, ink]), "LA").save(folder / "c_gray_alpha.png")
    palette.save(folder / "d_palette.png", transparency=bytes(range(255, -1, -1)))
    Image.fromarray(np.rot90(page)).save(folder / "e_turned.jpg", exif=on_its_side)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shard sets of a few drawn pages; the pages themselves lie beside them."""
    root = tmp_path_factory.mktemp("data")
    draw_data_set(root / "pages", seed=1, pages_per_class={"train": 1, "val": 2, "test": 2})
    names = str(root / "pages" / "classes.txt")
    lists = {split: str(root / "pages" / "labels" / f"{split}.txt") for split in ("train", "val", "test")}
    data = DataConfig(root=str(root / "pages"), **lists, classes=(0, 2, 4, 6, 9), class_names=names)
    config = ShardConfig(folder=str(root / "shards"), height=64, width=64)
    boxes = {name: PRESETS["halves"][name] for name in ("left", "top")}
    convert(data, config, regions=boxes, seed=1, workers=1)
    return root / "shards"


def make_member(run: Path, name: str, *, region: str, shards: Path) -> None:
    """A finished job as the trainer leaves it, with random weights."""
    import keras

    stage = StageConfig(region=region, image_px=IMAGE_PX[name])
    config = JobConfig(
        name=name, stage_name=name, region=region, shards=str(shards), seed=1, stage=stage, model=MODEL,
        training=TrainingConfig(views=VIEWS[name]), checkpoint=CheckpointConfig(),
    )  # fmt: skip
    folder = run / "jobs" / name
    checkpoint = folder / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(to_mapping(config)))
    keras.utils.set_random_seed(len(name))
    classifier = build_classifier(MODEL, Geometry(64, 64, 1, stage.image_px), classes=5)
    model = with_views(classifier, VIEWS[name]).model
    generator = np.random.default_rng(len(name))
    arrays = {}
    for path, variable in named(model.variables).items():
        if "seed" not in path:
            values = generator.normal(0.0, 0.3, variable.shape).astype(np.float32)
            arrays[path] = np.abs(values) + 0.5 if "variance" in path else values
            variable.assign(arrays[path])
    save_arrays(checkpoint / "weights.safetensors", arrays)
    digest = hashlib.sha256((checkpoint / "weights.safetensors").read_bytes()).hexdigest()
    write_json(checkpoint / "manifest.json", {"step": 1, "sha256": {"weights.safetensors": digest}})
    for split in ("val", "test"):
        pages = ShardSet.open(shards / split / region)
        softmax = model(pages.gather(np.arange(len(pages))), training=False).numpy()
        rows = Predictions(np.array(pages.ids), pages.labels, softmax, np.array(pages.manifest.class_ids))
        write_predictions(folder / "predictions" / f"{split}.npz", rows)
    write_json(folder / "result.json", {"region": region, "best_checkpoint": "checkpoints/step-00000001"})


def make_run(run: Path, shards: Path, *, method: str = "mlp") -> Path:
    """A finished run."""
    for name, region in MEMBERS.items():
        make_member(run, name, region=region, shards=shards)
    stack.run({"run": str(run), "members": list(MEMBERS), "config": {"method": method, "epochs": 2}})
    return run


def run_config(shards: Path) -> dict[str, Any]:
    """The configuration of such a run."""
    pages = shards.parent / "pages"
    lists = {split: str(pages / "labels" / f"{split}.txt") for split in ("train", "val", "test")}
    return {
        "data": {"root": str(pages), **lists, "classes": [0, 2, 4, 6, 9], "class_names": str(pages / "classes.txt")},
        "shards": {"folder": str(shards), "height": 64, "width": 64},
        "stages": {"holistic_32": {"image_px": 32}},
        "regions": {name: list(PRESETS["halves"][name].edges) for name in ("left", "top")},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """A finished run of three members and the stack, and its export."""
    run = make_run(tmp_path_factory.mktemp("run"), shards)
    (run / "config.yaml").write_text(yaml.safe_dump(run_config(shards)))
    export(run, request=QUICK)
    return run


def test_without_the_project_it_gives_the_recorded_predictions(tmp_path: Path, finished: Path, shards: Path) -> None:
    sets = {region: ShardSet.open(shards / "test" / region) for region in MEMBERS.values()}
    recorded = read_predictions(finished / "jobs" / "stack" / "predictions" / "test.npz")
    given: dict[str, Any] = {}
    for region, pages in sets.items():
        places = {page_id: place for place, page_id in enumerate(pages.ids)}
        given[region] = pages.gather(np.array([places[page_id] for page_id in recorded.ids.tolist()]))
    given["page"] = read_page(shards.parent / "pages" / str(recorded.ids[0]))[:, :, None]
    np.savez(tmp_path / "given.npz", **given)
    Image.fromarray(given["page"][:, :, 0]).save(tmp_path / "page.png")
    policy = read_policy(finished)
    assert policy is not None
    saved_model = str(finished / "export" / "saved_model")
    command = [sys.executable, "-I", "-c", STRANGER, saved_model, "given.npz", "out.npz"]
    stranger = subprocess.run(command, check=True, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert "the project cannot be imported" in stranger.stdout
    answers = np.load(tmp_path / "out.npz")
    for name in (*MEMBERS, "stack"):
        stored = read_predictions(finished / "jobs" / name / "predictions" / "test.npz").softmax
        expected = calibrate(policy, {name: stored})[name]
        assert np.abs(expected - stored).max() > 1e-3, "the temperature is not 1"
        assert answers[name] == pytest.approx(expected, abs=1e-5)
        assert np.array_equal(answers[f"signature_{name}"], answers[name])
        # From the page itself: its regions may differ by single gray levels from those that OpenCV cut.
        assert answers[f"page_{name}"] == pytest.approx(expected[:1], abs=0.02)
        assert np.array_equal(answers[f"file_{name}"], answers[f"page_{name}"])
    assert answers["class_ids"].tolist() == [0, 2, 4, 6, 9]
    assert answers["class_names"].tolist()[0] == b"letter"


def test_evaluate_takes_shards_of_another_size(tmp_path: Path, finished: Path, shards: Path) -> None:
    """The same pages, stored at twice the size that the run's configuration says."""
    config = open_run(finished).config
    larger = replace(config.shards, folder=str(tmp_path / "larger"), height=128, width=128)
    convert(config.data, larger, regions=config.boxes, seed=1, workers=1)
    assert evaluate(finished, split="test", shards=str(tmp_path / "larger")) == 0
    sets = {region: ShardSet.open(tmp_path / "larger" / "test" / region) for region in config.boxes}
    models = ensemble_for_shards(finished, sets)
    assert {region.shape for region in models.regions.values()} == {(128, 128, 1)}


def test_predict_evaluate_and_the_report_agree_to_the_digit(
    finished: Path, shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = read_policy(finished)
    assert policy is not None
    stored = {n: read_predictions(finished / "jobs" / n / "predictions" / "test.npz") for n in (*MEMBERS, "stack")}
    judged = judge(policy, {name: rows.softmax for name, rows in stored.items()})
    ids = stored["stack"].ids.tolist()
    answers = list(open_run(finished).predict([shards.parent / "pages" / page_id for page_id in ids]))
    for row, answer in enumerate(answers):
        assert answer.decision == judged.decisions[row]
        for name, softmax in judged.probabilities.items():
            assert [f"{p:.1%}" for p in answer.outputs[name]] == [f"{p:.1%}" for p in softmax[row]]
    blank = np.full((600, 450), 255, np.uint8)
    assert policy.faintest is not None and policy.faintest > 5
    assert [answer.decision for answer in open_run(finished).predict([blank, np.zeros_like(blank)])] == ["unknown"] * 2
    write_report(finished, tmp_path / "report")
    figures = json.loads((tmp_path / "report" / "metrics.json").read_text())["confidence"]
    capfd.readouterr()
    assert evaluate(finished, split="test", shards=None) == 0
    printed = capfd.readouterr().out
    for name, row in figures["models"].items():
        assert re.search(rf"{name} .*{row['loss'][1]:.4f} .*{row['calibration_error'][1]:.2%}", printed)


def test_the_description_and_the_check(finished: Path) -> None:
    description = json.loads((finished / "export" / "export.json").read_text())
    assert description["checked"]["pages"] == 10
    assert set(description["checked"]["largest_difference"]) == {*MEMBERS, "stack"}
    assert description["regions"]["left"] == [0.0, 0.0, 0.5, 1.0]
    assert description["page"] == {"height": 64, "width": 64, "channels": 1, "dtype": "uint8"}
    assert [row["id"] for row in description["classes"]] == [0, 2, 4, 6, 9]


def test_a_model_other_than_the_recorded_one_is_rejected(tmp_path: Path, finished: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path = run / "jobs" / "top" / "predictions" / "test.npz"
    rows = read_predictions(path)
    rows.softmax[3] = np.roll(rows.softmax[3], 1)
    write_predictions(path, rows)
    with pytest.raises(UserError, match=f"exported top gives page {rows.ids[3]} probabilities that differ"):
        export(run, tmp_path / "out", request=QUICK)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_other_formats_give_the_calibrated_predictions_of_the_run(tmp_path: Path, finished: Path, form: Format) -> None:
    exported = export(finished, tmp_path / "out", request=ExportRequest(form=form))
    checked = exported["checked"]
    assert checked["pages"] == 10
    assert set(checked["largest_difference"]) == {*MEMBERS, "stack"}
    assert max(checked["largest_difference"].values()) < 1e-4
    assert set(checked["top1_equal"].values()) == {10}
    assert set(exported["pages_per_s"]) == {"1", "2"} and min(exported["pages_per_s"].values()) > 0
    assert exported["size_bytes"] == (tmp_path / "out" / exported["file"]).stat().st_size
    assert exported["inputs"] == {f"pages_{region}": [None, 64, 64, 1] for region in MEMBERS.values()}


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_a_stack_on_log_probabilities(tmp_path: Path, finished: Path, form: Format) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("stack", "export*"))
    settings = {"method": "logistic", "input": "log", "epochs": 1}
    stack.run({"run": str(run), "members": list(MEMBERS), "config": settings})
    exported = export(run, tmp_path / "out", request=ExportRequest(form=form, measure=False))
    assert max(exported["checked"]["largest_difference"].values()) < 1e-4


def test_the_command_writes_a_card_and_prints_the_check(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(finished), "--format", "litert"]) == 0
    printed = capfd.readouterr().out
    folder = finished / "export-litert"
    assert {path.name for path in folder.iterdir()} == {"model.tflite", "export.json", "MODEL_CARD.md"}
    assert "10 of 10" in printed and "pages/s on 2 threads" in printed
    _, block, body = (folder / "MODEL_CARD.md").read_text().split("---\n", 2)
    assert yaml.safe_load(block)["library_name"] == "tflite"
    recorded = read_predictions(finished / "jobs" / "stack" / "predictions" / "test.npz")
    accuracy = (recorded.softmax.argmax(axis=1) == recorded.labels).mean()
    assert f"Accuracy **{accuracy:.1%}**" in body and "letter" in body
    assert main(["export", str(finished), "--format", "litert"]) == 2
    assert "exists already" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["saved_model", "onnx"])
def test_the_code_of_the_card_gives_the_class_of_a_page(
    tmp_path: Path, finished: Path, shards: Path, form: Format
) -> None:
    """The card's Python, in a folder with the export and each page in turn, without this project on the path."""
    folder = tmp_path / "out"
    assert main(["export", str(finished), "--format", form, "--to", str(folder)]) == 0
    recorded = read_predictions(finished / "jobs" / "stack" / "predictions" / "test.npz")
    pages = save_as_people_have_it(read_page(shards.parent / "pages" / str(recorded.ids[0])), folder / "pages")
    answers = list(open_run(finished).predict(pages))
    assert answers[0].outputs["stack"] == pytest.approx(recorded.softmax[0], abs=0.1)
    code = re.findall(r"```python\n(.*?)```", (folder / "MODEL_CARD.md").read_text(), re.DOTALL)
    (folder / "card.py").write_text("\n".join(code))
    command = [sys.executable, "-I", "-c", ON_EACH_PAGE]
    printed = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout
    names = json.loads((folder / "export.json").read_text())["classes"]
    for path, answer, line in zip(pages, answers, printed.splitlines(), strict=True):
        probabilities = answer.outputs["stack"]
        assert names[int(np.argmax(probabilities))]["name"] in line, path
        assert float(line.rsplit(maxsplit=1)[1]) == pytest.approx(max(probabilities), abs=1e-3), path


@pytest.mark.parametrize(("model", "job"), [("holistic", "holistic_32"), ("top", "top")])
def test_a_single_model(tmp_path: Path, finished: Path, model: str, job: str) -> None:
    exported = export(finished, tmp_path / "out", request=ExportRequest(form="onnx", model=model, measure=False))
    assert list(exported["checked"]["largest_difference"]) == [job] == [exported["model"]]
    assert list(exported["inputs"]) == [f"pages_{MEMBERS[job]}"]
    assert list(exported["temperatures"]) == [job] and exported["stack"] is None


def test_without_shards_and_policy_it_is_compared_with_the_keras_models(tmp_path: Path, finished: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    policy_file(run).unlink()
    regions = {region: RegionPages((64, 64, 1), WHOLE_PAGE.edges) for region in MEMBERS.values()}
    pages = RunPages(class_ids=(0, 2, 4, 6, 9), class_names=tuple("abcde"), regions=regions, shards=None)
    exported = export(run, tmp_path / "out", request=ExportRequest(form="litert", pages=pages, measure=False))
    assert "synthetic" in exported["checked"]["against"] and exported["checked"]["pages"] == 64
    assert exported["temperatures"] == {}


@pytest.mark.parametrize("form", ["saved_model", "onnx", "litert"])
def test_another_model_is_not_exported_in_any_format(tmp_path: Path, finished: Path, form: Format) -> None:
    """A stack with other weights than those that made the recorded predictions."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    arrays = dict(load_arrays(run / "jobs" / "stack" / "weights.safetensors"))
    arrays["mlp/output_bias"] = arrays["mlp/output_bias"] + np.arange(5, dtype=np.float32)
    save_arrays(run / "jobs" / "stack" / "weights.safetensors", arrays)
    result = json.loads((run / "jobs" / "stack" / "result.json").read_text())
    digest = hashlib.sha256((run / "jobs" / "stack" / "weights.safetensors").read_bytes()).hexdigest()
    (run / "jobs" / "stack" / "result.json").write_text(json.dumps({**result, "weights_digest": digest}))
    with pytest.raises(UserError, match=r"exported stack gives page .* probabilities that differ"):
        export(run, tmp_path / "out", request=ExportRequest(form=form, measure=False))
    assert not list(tmp_path.glob("*out*"))


def test_an_invalid_export_is_rejected(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(UserError, match="export: exists already"):
        export(finished)
    with pytest.raises(UserError, match="stack is not finished"):
        export(tmp_path, tmp_path / "other")
    with pytest.raises(UserError, match=r"--model bottom: no finished job.*holistic_32, left, top"):
        export(finished, tmp_path / "other", request=ExportRequest(model="bottom"))
    with pytest.raises(UserError, match="elsewhere"):
        export(finished, tmp_path / "other", shards=tmp_path / "elsewhere")
