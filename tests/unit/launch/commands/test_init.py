"""`regionstack init`: what it finds in folders and files, and that its configuration is ready to run."""

import re
from pathlib import Path

import pytest

from data_tools.conversion.convert import ShardConfig, convert
from data_tools.documents.data_set import read_data_set
from launch.cli import main
from launch.config import load_config
from tests.helpers.synthetic_pages import page, write_page

SPLITS = ("train", "val", "test")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; `tree/train/memo/3.png` and so on, 6, 3 and 3 pages of two classes."""
    monkeypatch.chdir(tmp_path)
    number = 0
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        for name in ("letter", "memo"):
            for place in range(count):
                write_page(tmp_path / "tree" / split / name / f"{place}.png", page(number, height=20, width=16))
                number += 1
    return tmp_path


def listed(work: Path) -> list[tuple[str, str, str]]:
    paths = sorted((work / "tree").rglob("*.png"))
    return [(str(path.relative_to(work / "tree")), path.parts[-2], path.parts[-3]) for path in paths]


def make(work: Path, kind: str) -> str:
    """Labels of a kind for the pages; the argument of `init`."""
    rows = listed(work)
    if kind == "table with splits":
        (work / "all.csv").write_text("File;Type;Fold\n" + "".join(f"tree/{p};{c};{s.upper()}\n" for p, c, s in rows))
        return "all.csv"
    if kind == "table without splits":
        (work / "tree" / "all.tsv").write_text("image\tclass\n" + "".join(f"{p}\t{c}\n" for p, c, _ in rows))
        return "tree/all.tsv"
    if kind.startswith("label files"):
        (work / "labels").mkdir()
        for split in SPLITS if kind == "label files" else SPLITS[:2]:
            lines = [f"{p} {int(c == 'memo')}\n" for p, c, s in rows if s == split]
            (work / "labels" / f"{split}.txt").write_text("".join(lines))
        (work / "labels" / "classes.txt").write_text("letter\nmemo\n")
        return "."
    if kind == "train and test":
        for path in sorted((work / "tree" / "val").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (work / "tree" / "val").rmdir()
        return "tree"
    return {"tree with splits": "tree", "tree without splits": "tree/train"}[kind]


KINDS = {
    "tree with splits": {"train": 12, "val": 6, "test": 6},
    "tree without splits": {"train": 8, "val": 2, "test": 2},
    "train and test": {"train": 10, "val": 2, "test": 6},
    "label files": {"train": 12, "val": 6, "test": 6},
    "label files without test": {"train": 10, "val": 6, "test": 2},
    "table with splits": {"train": 12, "val": 6, "test": 6},
    "table without splits": {"train": 20, "val": 2, "test": 2},
}


@pytest.mark.parametrize("preset", ["rvl_cdip", "small_data"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_is_ready_to_run(
    work: Path, kind: str, preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(work, kind)
    assert main(["init", source, "--preset", preset]) == 0
    assert "train-all --config my.yaml" in capsys.readouterr().out
    config = load_config("my.yaml")
    data = read_data_set(config.data, seed=config.seed)
    assert {split: len(labels) for split, labels in data.labels.items()} == KINDS[kind]
    assert data.class_names == ("letter", "memo")
    assert main(["init", source, "--preset", preset, "--force"]) == 0


def test_it_converts(work: Path) -> None:
    assert main(["init", make(work, "table with splits"), "--out", "x.yaml", "--preset", "demo"]) == 0
    config = load_config("x.yaml")
    summary = convert(config.data, ShardConfig(folder="s", height=16, width=16), regions={}, seed=1, workers=1)
    assert (summary.pages, summary.rejected) == (24, 0)


def test_the_same_command_writes_the_same_bytes(work: Path) -> None:
    source = make(work, "tree with splits")
    assert main(["init", source, "--out", "a.yaml"]) == main(["init", source, "--out", "b.yaml"]) == 0
    assert Path("a.yaml").read_bytes() == Path("b.yaml").read_bytes()


def test_standard_output(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["init", make(work, "tree with splits"), "--out", "-"]) == 0
    assert capfd.readouterr().out.endswith("folder: runs/tree\n")


def test_a_file_that_exists_is_kept(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.yaml").write_text("mine")
    assert main(["init", make(work, "tree with splits")]) == 2
    assert "--force" in capsys.readouterr().err
    assert Path("my.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        ("nothing", [], "nothing: no such file or folder"),
        ("empty", [], "empty: neither"),
        ("tree/train/memo", [], "memo: neither"),
        ("lost.csv", [], "no page is found, such as gone/a.png; .*--root"),
        ("tree", ["--root", "nowhere"], "--root nowhere"),
        ("tree", ["--preset", "best"], "--preset best"),
        ("two", [], "several tables"),
        ("bad.csv", [], "bad.csv:1: "),
    ],
)
def test_what_cannot_be_used(
    work: Path, capsys: pytest.CaptureFixture[str], source: str, options: list[str], problem: str
) -> None:
    Path("empty").mkdir()
    Path("two").mkdir()
    for name, text in {
        "lost.csv": "path,label\ngone/a.png,memo\n",
        "bad.csv": "a,b\nc,d\n",
        "two/a.csv": "path,label\n",
        "two/b.csv": "path,label\n",
    }.items():
        Path(name).write_text(text)
    assert main(["init", source, *options]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(problem, error)
    assert not Path("my.yaml").exists()


def test_a_root_that_is_elsewhere(work: Path) -> None:
    (work / "far").mkdir()
    rows = "".join(f"{p},{c},{s}\n" for p, c, s in listed(work))
    (work / "far" / "all.csv").write_text("path,label,split\n" + rows)
    assert main(["init", "far/all.csv", "--root", "tree"]) == 0
    assert load_config("my.yaml").data.root == str(work / "tree")


def test_a_file_of_class_names_is_for_ids_alone(work: Path) -> None:
    rows = "".join(f"tree/{p},{c},{s}\n" for p, c, s in listed(work))
    (work / "all.csv").write_text("path,label,split\n" + rows)
    (work / "classes.txt").write_text("other\nnames\nof three\n")
    assert main(["init", "all.csv"]) == 0
    assert load_config("my.yaml").data.class_names is None
