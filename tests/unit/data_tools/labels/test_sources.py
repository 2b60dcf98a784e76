"""Data sets from sources of every kind, with real files: one page for each path, classes, splits, and warnings."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_tools.config import from_mapping
from data_tools.documents.data_set import DataConfig, DataSet, read_data_set
from data_tools.errors import UserError

SPLITS = ("train", "val", "test")
NAMES = ("letter", "memo")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten pages of each class and split: `pages/train/memo/3.tif`."""
    for split in SPLITS:
        for name in NAMES:
            (tmp_path / "pages" / split / name).mkdir(parents=True)
            for number in range(10):
                (tmp_path / "pages" / split / name / f"{number}.tif").touch()
    return tmp_path / "pages"


def pages(*splits: str) -> list[tuple[str, str, str]]:
    return [(f"{split}/{name}/{n}.tif", name, split) for split in splits for name in NAMES for n in range(10)]


def table(path: Path, columns: str = "path,label,split", *splits: str) -> str:
    rows = [",".join(row[: columns.count(",") + 1]) for row in pages(*(splits or SPLITS))]
    path.write_text("\n".join([columns, *rows]) + "\n")
    return str(path)


def read(root: Path, **settings: Any) -> DataSet:
    return read_data_set(from_mapping(DataConfig, {"root": str(root), **settings}, where="data"), seed=1)


def lists(root: Path, **lines: list[str]) -> dict[str, str]:
    """A label file for each split, in a folder beside the root; `lines` replace those of a split."""
    for split in SPLITS:
        own = lines.get(split) or [f"{page} {NAMES.index(name)}" for page, name, _ in pages(split)]
        (root.parent / f"{split}.txt").write_text("\n".join(own) + "\n")
    return {split: str(root.parent / f"{split}.txt") for split in SPLITS}


def kinds(data: DataSet) -> dict[tuple[str, str], int]:
    return {(warning.split, warning.kind): warning.count for warning in data.label_warnings}


def sizes(data: DataSet) -> dict[str, int]:
    return {split: len(labels) for split, labels in data.labels.items()}


SPELLINGS: Mapping[str, tuple[str, str]] = {
    "./train/memo/0.tif 1": ("dots", ""),
    "train//memo/0.tif 1": ("dots", ""),
    "train/./memo/0.tif 1": ("dots", ""),
    '"train/memo/0.tif" 1': ("quoted", ""),
    "train\\memo\\0.tif 1": ("backslashes", ""),
    "{root}/train/memo/0.tif 1": ("absolute", ""),
    "train/memo/0.TIF 1": ("other_spelling", ""),
    "Train/MEMO/0.tif 1": ("other_spelling", ""),
    "train/memo/0.tif \t 1": ("blanks", ""),
}


@pytest.mark.parametrize("line", SPELLINGS)
def test_every_spelling_of_a_path_is_one_page(root: Path, line: str) -> None:
    plain = [f"train/{name}/{n}.tif {NAMES.index(name)}" for name in NAMES for n in range(10)]
    line = line.replace("{root}", str(root))
    alone = read(root, **lists(root, train=[line if other == "train/memo/0.tif 1" else other for other in plain]))
    assert alone.fingerprint("train") == read(root, **lists(root)).fingerprint("train")
    (kind,) = kinds(alone)
    assert kind[1] == next(kind for text, (kind, _) in SPELLINGS.items() if text.replace("{root}", str(root)) == line)
    both = read(root, **lists(root, train=[*plain, line]))
    assert both.labels == alone.labels
    assert ("train", "duplicate_line") in kinds(both)
    with pytest.raises(UserError, match=r"train/memo/0.tif has two classes, 1 and 0; .*train.txt:11 .*train.txt:21"):
        read(root, **lists(root, train=[*plain, line[:-1] + "0"]))
    others = ["val/memo/1.tif 1", "val/letter/1.tif 0"]
    shared = read(root, **lists(root, val=[*others, line]))
    assert kinds(shared)["val", "in_two_splits"] == 1
    with pytest.raises(
        UserError, match=r"val: train/memo/0.tif has two classes, 1 in train and 0; .*train.txt:11 .*val.txt:3"
    ):
        read(root, **lists(root, val=[*others, line[:-1] + "0"]))


def test_a_list_to_divide_does_not_contradict_a_given_split(root: Path) -> None:
    given = lists(root, test=["test/memo/1.tif 1", "test/letter/1.tif 0", "train/memo/0.tif 0"])
    with pytest.raises(UserError, match=r"data\.test: train/memo/0.tif has two classes, 1 in train and 0;"):
        read(root, train=given["train"], test=given["test"], split={"val": 0.1})


def test_a_link_to_a_listed_page_is_that_page(root: Path) -> None:
    (root / "train" / "memo" / "link.tif").symlink_to("0.tif")
    (root / "same").symlink_to("train")
    plain = [f"train/{name}/{n}.tif {NAMES.index(name)}" for name in NAMES for n in range(10)]
    for link in ("train/memo/link.tif", "same/memo/0.tif"):
        both = read(root, **lists(root, train=[*plain, f"{link} 1"]))
        assert both.labels == read(root, **lists(root)).labels
        assert kinds(both) == {("train", "linked"): 1, ("train", "duplicate_line"): 1}
        assert both.label_warnings[0].detail == (
            f"{root}: 1 page is named a second time through a link, and read as one page (first: {link} is "
            "train/memo/0.tif)"
        )
        with pytest.raises(UserError, match=r"train/memo/0.tif has two classes, 1 and 0; .*txt:11 .*train.txt:21"):
            read(root, **lists(root, train=[*plain, f"{link} 0"]))
        shared = read(root, **lists(root, val=["val/memo/1.tif 1", "val/letter/1.tif 0", f"{link} 1"]))
        assert kinds(shared)["val", "in_two_splits"] == 1
        alone = read(root, **lists(root, train=[*plain[:10], *plain[11:], f"{link} 1"]))
        assert (alone.labels["train"][-1].page_id, alone.label_warnings) == (link, ())


def test_links_in_folder_trees_are_the_pages_that_they_lead_to(root: Path) -> None:
    before = read(root, labels=str(root))
    (root / "val" / "memo" / "copies").symlink_to("../../train/memo")
    (root / "train" / "memo" / "link.tif").symlink_to("0.tif")
    found = read(root, labels=str(root))
    assert found.labels["train"] == before.labels["train"]
    assert found.labels["val"] == [*before.labels["val"], *before.labels["train"][10:]]
    assert Counter(warning.kind for warning in found.label_warnings) == {
        "in_two_splits": 10, "linked": 2, "duplicate_line": 2
    }  # fmt: skip
    (root / "val" / "letter" / "wrong.tif").symlink_to("../../train/memo/3.tif")
    with pytest.raises(
        UserError,
        match=r"data\.val: train/memo/3.tif has two classes, 1 \(memo\) in train and 0 \(letter\); remove the link "
        r"val/letter/wrong.tif or val/memo/copies/3.tif",
    ):
        read(root, labels=str(root))


def test_a_split_that_is_a_link_to_another_has_its_pages(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").symlink_to("train")
    assert Counter(warning.kind for warning in read(root, labels=str(root)).label_warnings) == {
        "in_two_splits": 20, "linked": 1
    }  # fmt: skip


@pytest.mark.parametrize("by", ["document", "folder", "customer"])
def test_a_list_with_links_to_its_pages_is_divided_like_one_without(root: Path, tmp_path: Path, by: str) -> None:
    (root / "links").mkdir()
    settings = {"labels": str(tmp_path / "all.csv"), "split": {"val": 0.3, "test": 0.3, "by": by}}
    rows = [(page, name, f"c{n // 2}") for n, (page, name, _) in enumerate(pages(*SPLITS))]
    for n, (page, _, _) in enumerate(rows):
        (root / "links" / f"{n}.tif").symlink_to(f"../{page}")
    linked = [(f"links/{n}.tif", *rest) for n, (_, *rest) in enumerate(rows)]
    found = []
    for listed in (rows, [*linked, *rows]):
        (tmp_path / "all.csv").write_text("\n".join(["path,label,customer", *map(",".join, listed)]))
        found.append(read(root, **settings))
    assert [found[0].fingerprint(split) for split in SPLITS] == [found[1].fingerprint(split) for split in SPLITS]


def test_plain_label_files_have_no_warnings(root: Path) -> None:
    assert read(root, **lists(root)).label_warnings == ()


def test_names_as_classes_in_label_files(root: Path) -> None:
    plain = lists(root, **{s: [f"{page} {name}" for page, name, _ in pages(s)] for s in SPLITS})
    data = read(root, **plain)
    assert (data.class_ids, data.class_names) == ((0, 1), NAMES)
    assert sizes(data) == dict.fromkeys(SPLITS, 20)
    named = read(root, **plain, class_names=["memo", "unused", "letter"])
    assert (named.class_ids, named.class_names) == ((0, 2), ("memo", "letter"))


def test_a_name_among_ids_is_named_with_its_line(root: Path) -> None:
    with pytest.raises(UserError, match=r"train.txt:2: the class 'x'"):
        read(root, **lists(root, train=["train/memo/0.tif 1", "train/memo/1.tif x"]))


def test_one_table_for_all_splits(root: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "all.csv")
    data = read(root, labels=file)
    assert data.class_names == NAMES
    assert sizes(data) == dict.fromkeys(SPLITS, 20)
    again = read(root, train=file, val=file, test=file)
    assert again.labels == data.labels


@pytest.mark.parametrize(
    ("train", "val", "test"), [("Train", "VALID", "test"), ("training", "validation", "TEST"), ("train", "dev", "Test")]
)
def test_values_of_the_split_column(root: Path, tmp_path: Path, train: str, val: str, test: str) -> None:
    text = Path(table(tmp_path / "all.csv")).read_text()
    for split, value in (("train", train), ("val", val), ("test", test)):
        text = text.replace(f",{split}\n", f",{value}\n")
    (tmp_path / "all.csv").write_text(text.replace("path,label,split", "file;type;fold").replace(",", ";"))
    data = read(root, labels=str(tmp_path / "all.csv"), columns={"path": "file", "label": "type", "split": "fold"})
    assert sizes(data) == dict.fromkeys(SPLITS, 20)


def test_a_column_without_any_split(root: Path, tmp_path: Path) -> None:
    text = Path(table(tmp_path / "all.csv")).read_text()
    for split in SPLITS:
        text = text.replace(f",{split}\n", ",3\n")
    (tmp_path / "all.csv").write_text(text.replace("path,label,split", "path,label,fold"))
    with pytest.raises(UserError, match=r"all.csv:2: the split '3'"):
        read(root, labels=str(tmp_path / "all.csv"))
    assert sizes(read(root, labels=str(tmp_path / "all.csv"), split={})) == {"train": 48, "val": 6, "test": 6}


@pytest.mark.parametrize("value", ["holdout", "", "3"])
def test_an_unknown_split_is_named_with_its_line(root: Path, tmp_path: Path, value: str) -> None:
    text = Path(table(tmp_path / "all.csv")).read_text()
    (tmp_path / "all.csv").write_text(text.replace(",letter,train\n", f",letter,{value}\n", 1))
    with pytest.raises(UserError, match=rf"all.csv:2: the split '{value}'"):
        read(root, labels=str(tmp_path / "all.csv"))


def test_a_table_for_each_split(root: Path, tmp_path: Path) -> None:
    files = {split: table(tmp_path / f"{split}.csv", "path,label", split) for split in SPLITS}
    assert sizes(read(root, **files)) == dict.fromkeys(SPLITS, 20)
    folds = (tmp_path / "train.csv").read_text().replace("\n", ",3\n").replace("label,3", "label,fold")
    (tmp_path / "train.csv").write_text(folds)
    assert sizes(read(root, **files)) == dict.fromkeys(SPLITS, 20), "folds of a cross-validation are no splits"
    files["train"] = table(tmp_path / "train.csv", "path,label,split", "train", "val")
    with pytest.raises(UserError, match=r"train.csv:22: .*val"):
        read(root, **files)


def test_excel_utf_16(root: Path, tmp_path: Path) -> None:
    text = Path(table(tmp_path / "all.csv")).read_text().replace(",", "\t").replace("\n", "\r\n")
    (tmp_path / "all.txt").write_bytes(text.encode("utf-16"))
    data = read(root, labels=str(tmp_path / "all.txt"))
    assert sizes(data) == dict.fromkeys(SPLITS, 20)
    assert kinds(data).keys() == {("all", "encoding"), ("all", "line_ends")}


def test_a_list_is_divided(root: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "all.csv", "path,label")
    with pytest.raises(UserError, match=r"data\.split"):
        read(root, labels=file)
    data = read(root, labels=file, split={"val": 0.1, "test": 0.2, "seed": 3})
    assert sizes(data) == {"train": 42, "val": 6, "test": 12}
    assert read(root, train=file, split={"val": 0.1, "test": 0.2, "seed": 3}).labels == data.labels
    header, *rows = Path(file).read_text().splitlines()
    Path(file).write_text("\n".join([header, *reversed(rows)]))
    again = read(root, labels=file, split={"val": 0.1, "test": 0.2, "seed": 3})
    assert [again.fingerprint(split) for split in SPLITS] == [data.fingerprint(split) for split in SPLITS]
    other = read(root, labels=file, split={"val": 0.1, "test": 0.2, "seed": 4})
    assert other.fingerprint("val") != data.fingerprint("val")


def test_groups_of_a_column_stay_together(root: Path, tmp_path: Path) -> None:
    rows = [f"{page},{name},c{number % 12}" for number, (page, name, _) in enumerate(pages(*SPLITS))]
    (tmp_path / "all.csv").write_text("\n".join(["path,label,customer", *rows]))
    data = read(root, labels=str(tmp_path / "all.csv"), split={"val": 0.2, "test": 0.2, "by": "customer"})
    of_page = dict(row.rsplit(",", 2)[::2] for row in rows)
    customers = [{of_page[label.page_id] for label in data.labels[split]} for split in SPLITS]
    assert sum(map(len, customers)) == 12
    assert all(customers)
    with pytest.raises(UserError, match=r"by: .* no value in a column 'Customer id'"):
        read(root, labels=str(tmp_path / "all.csv"), split={"by": "Customer id"})


def grouped(path: Path, groups: Sequence[str], *more: str, column: str = "customer") -> str:
    """A table of all pages, in which `groups` are repeated over the pages of each class."""
    rows = [f"{page},{name},{groups[n % len(groups)]}" for n, (page, name, _) in enumerate(pages(*SPLITS))]
    path.write_text("\n".join([f"path,label,{column}", *rows, *more]))
    return str(path)


def test_a_page_with_two_values_of_its_group_is_an_error(root: Path, tmp_path: Path) -> None:
    settings: Any = {"split": {"val": 0.2, "test": 0.2, "by": "customer"}}
    groups = [f"C{n}" for n in range(12)]
    rows = ("train/letter/0.tif,letter,C7", "./train/letter/0.tif,letter,C7")
    for more in rows:
        with pytest.raises(
            UserError,
            match=r"by: train/letter/0.tif has the customer 'C0' at .*all.csv:2 and 'C7' at .*all.csv:62; keep one",
        ):
            read(root, labels=grouped(tmp_path / "all.csv", groups, more), **settings)
    plain = read(root, labels=grouped(tmp_path / "all.csv", groups), **settings)
    for more in ("train/letter/0.tif,letter,C0", "train/letter/0.tif,letter,"):
        twice = read(root, labels=grouped(tmp_path / "all.csv", groups, more), **settings)
        assert twice.labels == plain.labels


def test_groups_in_two_unicode_forms_are_one_group(root: Path, tmp_path: Path) -> None:
    settings: Any = {"split": {"val": 0.2, "test": 0.2, "by": "customer"}}
    nfc = [f"M\u00fcller {n}" for n in range(12)]
    nfd = [f"Mu\u0308ller {n}" for n in range(12)]
    expected = read(root, labels=grouped(tmp_path / "all.csv", nfc), **settings).labels
    mixed = [name for n in range(12) for name in ([nfd[n]] if n % 2 else [nfc[n]])]
    changed = [*nfc, *mixed, *nfd, *nfc, *nfc]
    assert read(root, labels=grouped(tmp_path / "all.csv", changed), **settings).labels == expected


@pytest.mark.parametrize(("column", "by"), [("Customer", "customer"), ("customer", "CUSTOMER"), ("Kunde", "Kunde")])
def test_the_column_of_groups_in_upper_or_lower_case(root: Path, tmp_path: Path, column: str, by: str) -> None:
    groups = [f"C{n}" for n in range(12)]
    file = grouped(tmp_path / "all.csv", groups, column=column)
    data = read(root, labels=file, split={"val": 0.2, "test": 0.2, "by": by})
    plain = read(root, labels=grouped(tmp_path / "b.csv", groups), split={"val": 0.2, "test": 0.2, "by": "customer"})
    assert data.labels == plain.labels


@pytest.mark.parametrize("by", ["document", "file", "folder"])
def test_words_of_the_setting_are_no_columns_in_another_case(root: Path, tmp_path: Path, by: str) -> None:
    groups = [f"C{n}" for n in range(12)]
    settings: Any = {"columns": {"path": "path"}, "split": {"val": 0.3, "test": 0.3, "by": by}}
    named = read(root, labels=grouped(tmp_path / "all.csv", groups, column=by.title()), **settings)
    plain = read(root, labels=grouped(tmp_path / "all.csv", groups, column="other"), **settings)
    assert named.labels == plain.labels


@pytest.mark.parametrize(
    ("column", "by", "problem"),
    [
        ("customer", "kunde", "no value in a column 'kunde'; the columns: path, label, customer;"),
        ("Kunde,kunde", "KUNDE", "several columns 'KUNDE'; the columns: path, label, Kunde, kunde;"),
    ],
)
def test_an_unknown_column_of_groups_names_the_columns(
    root: Path, tmp_path: Path, column: str, by: str, problem: str
) -> None:
    file = grouped(tmp_path / "all.csv", ["C0"], column=column)
    with pytest.raises(UserError, match=rf"all\.csv:1: data\.split\.by: the table has {problem}"):
        read(root, labels=file, split={"by": by})
    given = {split: table(tmp_path / f"{split}.csv", "path,label", split) for split in ("val", "test")}
    with pytest.raises(UserError, match=r"data\.split: has no effect"):
        read(root, train=grouped(tmp_path / "train.csv", ["C0"]), **given, split={"by": "customer"})


def test_two_splits_and_a_share_of_train(root: Path, tmp_path: Path) -> None:
    given = {split: table(tmp_path / f"{split}.csv", "path,label", split) for split in ("train", "test")}
    assert sizes(read(root, **given, split={"val": 0.1})) == {"train": 18, "val": 2, "test": 20}
    both = table(tmp_path / "both.csv", "path,label,split", "train", "test")
    assert sizes(read(root, labels=both, split={"val": 0.1})) == {"train": 18, "val": 2, "test": 20}


def test_folder_trees(root: Path) -> None:
    data = read(root, **{split: str(root / split) for split in SPLITS})
    assert (data.class_names, sizes(data)) == (NAMES, dict.fromkeys(SPLITS, 20))
    assert read(root, labels=str(root)).labels == data.labels
    divided = read(root / "train", labels=str(root / "train"), split={"val": 0.1, "test": 0.1})
    assert sizes(divided) == {"train": 16, "val": 2, "test": 2}
    (root / "val").rename(root / "Validation")
    assert sizes(read(root, labels=str(root))) == dict.fromkeys(SPLITS, 20)


def test_what_lies_beside_the_folders_of_splits_is_named(root: Path) -> None:
    for name in ("holdout/memo/a.tif", "Training set/memo/b.tif", "loose.tif", "readme.txt", ".cache/c.tif"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (warning,) = read(root, labels=str(root)).label_warnings
    assert (warning.kind, warning.split, warning.count) == ("passed_over", "all", 5)
    assert warning.detail == (
        f"{root}: beside the folders of the splits, 2 files are not pages and 3 folders are not read "
        "(2 folder, 1 .tif, 1 .txt, 1 hidden): .cache/, Training set/, holdout/, loose.tif, readme.txt"
    )
    assert read(root, **{split: str(root / split) for split in SPLITS}).label_warnings == ()


def test_an_empty_class_folder_does_not_shift_ids(root: Path) -> None:
    (root / "train" / "invoice").mkdir()
    folders = {split: str(root / split) for split in SPLITS}
    with pytest.raises(UserError, match="train/invoice: the class folder has no page"):
        read(root, **folders)
    data = read(root, **folders, allow_empty_classes=True)
    assert (data.class_ids, data.class_names) == ((1, 2), NAMES)
    assert kinds(data)["train", "class_left_out"] == 1


def test_a_class_without_training_pages_may_be_left_out(root: Path) -> None:
    shutil.rmtree(root / "train" / "memo")
    folders = {split: str(root / split) for split in SPLITS}
    with pytest.raises(UserError, match=r"class 1 \(memo\) has no training pages"):
        read(root, **folders)
    data = read(root, **folders, allow_empty_classes=True)
    assert (data.class_ids, sizes(data)) == ((0,), {"train": 10, "val": 10, "test": 10})


def test_given_names_that_replace_those_of_folders_are_reported(root: Path) -> None:
    data = read(root, **{split: str(root / split) for split in SPLITS}, class_names=["memo", "letter"])
    assert kinds(data)["all", "renamed_classes"] == 2


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, r"data\.train: .*train and val and test"),
        ({"train": "a", "val": "b"}, r"data\.test: "),
        ({"labels": "a", "val": "b"}, r"data\.labels, val: "),
        ({"val": "a", "test": "b", "split": {}}, r"data\.train: "),
        ({"train": "a", "val": "b", "test": "c", "columns": {"file": "x"}}, r"data\.columns\.file: unknown"),
    ],
)
def test_sources_that_do_not_fit_together(root: Path, settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read(root, **settings)


def test_one_list_for_three_splits_needs_a_split_column(root: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "all.csv", "path,label")
    with pytest.raises(UserError, match=r"all.csv: .* no split column"):
        read(root, train=file, val=file, test=file)


def test_groups_by_the_path_column_are_documents(root: Path, tmp_path: Path) -> None:
    rows = [f"{'./' if n else ''}{s}/{name}/{n % 5}.tif#page={n // 5 + 1},{name}" for s in SPLITS for name in NAMES
            for n in range(10)]  # fmt: skip
    (tmp_path / "all.csv").write_text("\n".join(["document,label", *rows]))
    for by in ("document", "file"):
        data = read(root, labels=str(tmp_path / "all.csv"), split={"val": 0.2, "test": 0.2, "by": by})
        documents = [{label.page_id.split("#")[0] for label in data.labels[split]} for split in SPLITS]
        assert sum(map(len, documents)) == len(set().union(*documents)) == 30


def test_columns_of_folders_are_an_error(root: Path) -> None:
    with pytest.raises(UserError, match=r"data\.columns"):
        read(root, labels=str(root), columns={"path": "x"})


@pytest.mark.parametrize(
    ("settings", "ids", "names"),
    [
        ({"classes": ["memo"]}, (1,), ("memo",)),
        ({"classes": ["memo", 0]}, (0, 1), NAMES),
        ({"classes": ["Brief"], "class_names": ["Brief", "Notiz"]}, (0,), ("Brief",)),
    ],
)
def test_classes_to_keep_by_name(root: Path, settings: dict[str, Any], ids: Any, names: Any) -> None:
    found = read(root, labels=str(root), **settings)
    assert (found.class_ids, found.class_names) == (ids, names)


def test_a_class_to_keep_that_does_not_exist(root: Path) -> None:
    with pytest.raises(UserError, match=r"data\.classes: no class is named bill; the names: letter, memo"):
        read(root, labels=str(root), classes=["bill"])


def test_a_missing_split_names_the_way_out(root: Path) -> None:
    shutil.rmtree(root / "val")
    with pytest.raises(UserError, match=r"data\.val: no pages .* data\.split: \{val: 0\.1\}"):
        read(root, labels=str(root))
    assert sizes(read(root, labels=str(root), split={"val": 0.1})) == {"train": 18, "val": 2, "test": 20}
