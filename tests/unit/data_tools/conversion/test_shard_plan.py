"""The shard plan and the labels of a data set: pure functions, compared as complete values."""

from pathlib import Path

import pytest

from data_tools.conversion.shard_plan import ShardConfig, plan_split, shard_count, split_evenly
from data_tools.documents.data_set import DataConfig, capped, read_data_set
from data_tools.errors import UserError
from data_tools.labels.label import Label
from data_tools.shards.records import min_metadata_bytes
from tests.helpers.synthetic_pages import data_config, made_data

LABELS = [Label(f"p{number:03d}", number % 4) for number in range(100)]


@pytest.mark.parametrize(
    ("pages", "count", "sizes"),
    [(0, 1, [0]), (1, 1, [1]), (10, 3, [3, 3, 4]), (9, 3, [3, 3, 3]), (100, 7, [14, 14, 14, 15, 14, 14, 15])],
)
def test_shards_are_even(pages: int, count: int, sizes: list[int]) -> None:
    runs = split_evenly(LABELS[:pages], count)
    assert [len(run) for run in runs] == sizes
    assert [label for run in runs for label in run] == LABELS[:pages]


@pytest.mark.parametrize(
    ("pages", "pages_per_shard", "count"),
    [
        (0, 500, 1),
        (15, 500, 1),
        (40, 500, 2),  # Shards of at least 16 pages.
        (40, 10, 4),  # ... unless the size asked for is smaller.
        (1_000, 500, 62),  # A small set: still something to do for many processes.
        (10_000, 500, 64),
        (320_000, 500, 640),
        (320_001, 500, 641),
        (3, 1, 3),
    ],
)
def test_number_of_shards(pages: int, pages_per_shard: int, count: int) -> None:
    assert shard_count(pages, pages_per_shard=pages_per_shard) == count


def test_plan_is_a_function_of_the_set_and_the_seed() -> None:
    shards = ShardConfig(height=256, width=256, shard_mib=2)

    def plan(labels: list[Label], seed: int) -> list[list[Label]]:
        plans = plan_split(labels, "train", seed=seed, shards=shards, regions=["holistic"])
        assert [one.name for one in plans] == [f"shard-0000{i}-of-00006.tfrecord" for i in range(6)]
        assert {one.metadata_bytes for one in plans} == {min_metadata_bytes(1, b"p000")}
        return [list(one.pages) for one in plans]

    assert plan(LABELS, 1) == plan(LABELS[::-1], 1)
    assert plan(LABELS, 1) != plan(LABELS, 2)
    assert sorted(label for shard in plan(LABELS, 1) for label in shard) == LABELS
    # Each shard is mixed: no class makes up most of it.
    for shard in plan(LABELS, 1):
        assert max(sum(label.class_id == k for label in shard) for k in range(4)) <= len(shard) / 2


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"height": 4}, "height: 4 pixels"),
        ({"folder": "gs://bucket/shards"}, "folder: gs://bucket/shards is not a local path; .* `regionstack fetch"),
        ({"width": 10**6}, "width"),
        ({"shard_mib": 0}, "shard_mib: 0"),
        ({"workers": 0}, "workers: 0"),
        ({"page_timeout_s": 0.0}, "page_timeout_s"),
    ],
)
def test_bad_shard_settings(setting: dict[str, int], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        ShardConfig(**setting)  # type: ignore[arg-type]


def test_data_set(tmp_path: Path) -> None:
    data = read_data_set(made_data(tmp_path), seed=1)
    assert data.class_ids == (3, 7, 20)
    assert data.class_names == ("3", "7", "20")
    assert {split: len(labels) for split, labels in data.labels.items()} == {"train": 40, "val": 12, "test": 11}
    assert data.label_warnings == ()


def test_classes_filter_and_names(tmp_path: Path) -> None:
    made_data(tmp_path)
    (tmp_path / "names.txt").write_text("20 memo\n3 form\n7 letter\n")
    config = data_config(tmp_path, classes=(20, 3), class_names=str(tmp_path / "names.txt"))
    data = read_data_set(config, seed=1)
    assert data.class_ids == (3, 20)
    assert data.class_names == ("form", "memo")
    assert {label.class_id for label in data.labels["train"]} == {3, 20}


def test_fingerprint_does_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    first = read_data_set(made_data(tmp_path), seed=1)
    lines = (tmp_path / "train.txt").read_text().splitlines()
    (tmp_path / "train.txt").write_text("\n".join(reversed(lines)))
    again = read_data_set(data_config(tmp_path), seed=1)
    assert again.fingerprint("train") == first.fingerprint("train")
    (tmp_path / "train.txt").write_text("\n".join(lines[1:]))
    assert read_data_set(data_config(tmp_path), seed=1).fingerprint("train") != first.fingerprint("train")


def test_oddities(tmp_path: Path) -> None:
    made_data(tmp_path)
    lines = (tmp_path / "train.txt").read_text().splitlines()
    (tmp_path / "train.txt").write_text("\n".join([*lines, lines[0], lines[0]]))
    kept = [line for line in (tmp_path / "val.txt").read_text().splitlines() if not line.endswith(" 20")]
    (tmp_path / "val.txt").write_text("\n".join([*kept, lines[1]]))
    data = read_data_set(data_config(tmp_path), seed=1)
    assert len(data.labels["train"]) == 40
    page = lines[1].split()[0]
    assert [(one.kind, one.split, one.page_id) for one in data.label_warnings] == [
        ("duplicate_line", "train", lines[0].split()[0]),
        ("in_two_splits", "val", page),
        ("class_without_pages", "val", None),
    ]


def test_one_page_of_two_classes_is_refused(tmp_path: Path) -> None:
    made_data(tmp_path)
    line = (tmp_path / "train.txt").read_text().splitlines()[0]
    with (tmp_path / "train.txt").open("a") as file:
        file.write(line.split()[0] + " 7\n")
    with pytest.raises(UserError, match="has two classes, 3 and 7"):
        read_data_set(data_config(tmp_path), seed=1)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"classes": (3, 99)}, "data.train: class 99 has no training page"),
        ({"classes": ()}, "at least one class"),
        ({"classes": (3, 3)}, "each class once"),
        ({"max_rejected": -0.1}, "must not be negative"),
        ({"max_per_class": 0}, "at least 1"),
    ],
)
def test_bad_data_settings(tmp_path: Path, settings: dict[str, object], problem: str) -> None:
    made_data(tmp_path)
    with pytest.raises(UserError, match=problem):
        read_data_set(data_config(tmp_path, **settings), seed=1)


def test_class_without_training_pages(tmp_path: Path) -> None:
    made_data(tmp_path)
    with (tmp_path / "test.txt").open("a") as file:
        file.write("images/test/0.tif2 55\n")
    with pytest.raises(UserError, match="class 55 has no training page"):
        read_data_set(data_config(tmp_path), seed=1)


def test_missing_root_and_mixture(tmp_path: Path) -> None:
    config = made_data(tmp_path)
    with pytest.raises(UserError, match=r"data\.root"):
        read_data_set(DataConfig(root="/nowhere", train="a", val="b", test="c"), seed=1)
    with pytest.raises(UserError, match="not both kinds"):
        read_data_set(DataConfig(config.root, str(tmp_path / "pages"), config.val, config.test), seed=1)


@pytest.mark.parametrize(
    ("most", "pages", "allowed"), [(0.01, 199, 1), (0.01, 99, 0), (0.0, 10**6, 0), (1.0, 50, 1), (20.0, 50, 20)]
)
def test_rejects_allowed(most: float, pages: int, allowed: int) -> None:
    config = DataConfig(root="r", train="a", val="b", test="c", max_rejected=most)
    assert config.rejects_allowed(pages) == allowed


def test_cap_is_seeded_and_stable() -> None:
    first = capped(LABELS, 10, seed=1)
    assert len(first) == 40
    assert capped(LABELS[::-1], 10, seed=1) == first[::-1]
    assert capped(LABELS, 10, seed=2) != first
    # A higher cap keeps what a lower one chose, so that sets grow.
    assert set(first) < set(capped(LABELS, 15, seed=1))
    assert capped(LABELS, 25, seed=1) == LABELS
