"""Training with corrections of labels, against training on shards of the corrected labels."""

from pathlib import Path

import numpy as np
import yaml

from data_tools.files import read_json
from tests.helpers.commands import regionstack


def test_a_corrected_run_is_the_run_of_a_new_conversion(tiny: Path, tmp_path: Path) -> None:
    """Equal bits: the pages that are left keep their order."""
    config = yaml.safe_load(tiny.read_text())
    rows = ["id,split,label,new_label"]
    for split in ("train", "val", "test"):
        pages = [line.rsplit(" ", 1) for line in Path(config["data"][split]).read_text().splitlines()]
        (page, label), (excluded, other) = pages[0], pages[-1]
        rows += [f"{page},{split},{label},{other}", f"{excluded},{split},{other},exclude"]
        lines = [[page, other], *pages[1:-1]]
        (tmp_path / f"{split}.txt").write_text("".join(f"{' '.join(line)}\n" for line in lines))
    (tmp_path / "corrections.csv").write_text("\n".join(rows) + "\n")
    stage = ["--stage", "holistic_16", "--config", str(tiny)]
    stage += ["--set", "stages.holistic_16.epochs=1", "--set", "data.class_weights=balanced"]
    settings = {
        "corrected": [f"data.corrections={tmp_path / 'corrections.csv'}"],
        "fresh": [*(f"data.{split}={tmp_path / split}.txt" for split in ("train", "val", "test")),
                  f"shards.folder={tmp_path / 'shards'}"],
    }  # fmt: skip
    fresh = [part for text in settings["fresh"] for part in ("--set", text)]
    regionstack("convert", "--config", str(tiny), *fresh)
    for name, own in settings.items():
        regionstack(
            "train", *stage, *(part for text in [*own, f"run.folder={tmp_path / name}"] for part in ("--set", text))
        )
    jobs = [tmp_path / name / "jobs" / "holistic_16" for name in settings]
    results = [read_json(job / "result.json") for job in jobs]
    assert results[0]["weights_digest"] == results[1]["weights_digest"]
    for split in ("val", "test"):
        ours, theirs = (np.load(job / "predictions" / f"{split}.npz") for job in jobs)
        for key in ("ids", "labels", "softmax"):
            assert np.array_equal(ours[key], theirs[key]), key
    assert read_json(tmp_path / "corrected" / "corrections.json")["splits"]["val"] == {"relabel": 1, "exclude": 1}
