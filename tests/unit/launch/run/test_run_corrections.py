"""The corrections of a run: kept in its folder, and the same ones for as long as the run lives."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.files import read_json
from launch.config import Config, load_config
from launch.run.folder import open_run
from trainer.job_folder.corrections import corrections_record, kept_corrections

ROWS = "id,split,label,new_label,by\na.tif,train,0,2,anna\nb.tif,val,2,exclude,anna\n"


def config(folder: Path, corrections: Path | None) -> Config:
    return load_config("demo", [f"run.folder={folder / 'run'}", f"data.corrections={corrections or 'null'}"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "corrections.csv"
    path.write_text(ROWS)
    return path


def test_the_run_keeps_a_copy_and_its_record(tmp_path: Path, file: Path) -> None:
    run = open_run(config(tmp_path, file))
    record = read_json(run / "corrections.json")
    assert record["path"] == str(file)
    assert record["rows"] == 2
    assert len(record["sha256"]) == 64
    file.unlink()
    assert [row.by for row in kept_corrections(run).rows] == ["anna", "anna"]


def test_a_run_without_corrections_has_no_record(tmp_path: Path) -> None:
    run = open_run(config(tmp_path, None))
    assert corrections_record(run) is None
    with pytest.raises(UserError, match=r"corrections\.csv: missing"):
        kept_corrections(run)


def test_a_copy_of_the_file_is_the_same_corrections(tmp_path: Path, file: Path) -> None:
    run = open_run(config(tmp_path, file))
    before = (run / "corrections.json").read_bytes()
    open_run(config(tmp_path, file))
    open_run(config(tmp_path, file.rename(tmp_path / "moved.csv")))
    assert (run / "corrections.json").read_bytes() == before


@pytest.mark.parametrize("change", ["more rows", "none", "other decision"])
def test_other_corrections_are_refused_and_nothing_changes(tmp_path: Path, file: Path, change: str) -> None:
    run = open_run(config(tmp_path, file))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    if change == "more rows":
        file.write_text(ROWS + "c.tif,test,0,2,anna\n")
    elif change == "other decision":
        file.write_text(ROWS.replace("exclude", "0"))
    with pytest.raises(UserError, match="corrections") as caught:
        open_run(config(tmp_path, None if change == "none" else file))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_corrections_for_a_run_that_began_without(tmp_path: Path, file: Path) -> None:
    open_run(config(tmp_path, None))
    with pytest.raises(UserError, match=r"data\.corrections: None -> "):
        open_run(config(tmp_path, file))


def test_an_unreadable_file_leaves_no_run(tmp_path: Path, file: Path) -> None:
    file.write_text("a.tif train 0 2\n")
    with pytest.raises(UserError, match=r"corrections\.csv"):
        open_run(config(tmp_path, file))
    with pytest.raises(UserError, match=r"absent\.csv"):
        open_run(config(tmp_path, tmp_path / "absent.csv"))
    assert not (tmp_path / "run").exists()


def test_an_edited_copy_is_refused(tmp_path: Path, file: Path) -> None:
    run = open_run(config(tmp_path, file))
    (run / "corrections.csv").write_text(ROWS + "c.tif,test,0,2,anna\n")
    with pytest.raises(UserError, match="changed since"):
        kept_corrections(run)
