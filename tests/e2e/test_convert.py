"""Conversion with real worker processes: the same bytes in all cases, and every page accounted for."""

import json
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest

from data_tools.conversion.across_hosts import write_share
from data_tools.conversion.convert import DataConfig, ShardConfig, ShareRunner, convert
from data_tools.documents.pixels import fit, read_page
from data_tools.documents.regions import WHOLE_PAGE
from data_tools.errors import UserError
from data_tools.shards.manifest import read_manifest
from data_tools.shards.reader import ShardSet
from data_tools.shards.verify import check
from tests.helpers.conversions import REGIONS, SETS, SMALL, files, real_data, rejected, run
from tests.helpers.synthetic_pages import data_config, made_data, page, png_header, write_page


@pytest.mark.parametrize(("encoding", "counts"), [("raw", (1, 2, 7)), ("png", (1, 7)), ("jpeg", (1, 7))])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path, encoding: str, counts: tuple[int, ...]) -> None:
    data = made_data(tmp_path)
    for workers in counts:
        summary = run(data, tmp_path / f"s{workers}", workers=workers, encoding=encoding)
        assert sorted(summary.written) == sorted(SETS)
        assert (summary.pages, summary.rejected) == (63, 0)
        assert files(tmp_path / f"s{workers}") == files(tmp_path / "s1")
    first = files(tmp_path / "s1")
    assert not [name for name in first if "unfinished" in name]
    for name in SETS:
        assert check(tmp_path / "s1" / name, deep=True) == []


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_pixels_are_crop_then_area_resize(tmp_path: Path, encoding: str) -> None:
    data = made_data(tmp_path)
    run(data, tmp_path / "s", encoding=encoding)
    for region, box in {"holistic": WHOLE_PAGE, **REGIONS}.items():
        shards = ShardSet.open(tmp_path / "s" / "train" / region)
        images = shards.gather(np.arange(len(shards)))
        for name, image in zip(shards.ids, images, strict=True):
            assert np.array_equal(image, fit(read_page(Path(data.root, name)), box, 32, 24))
        classes = dict(line.split() for line in (tmp_path / "train.txt").read_text().splitlines())
        found = {name: str(shards.manifest.class_ids[k]) for name, k in zip(shards.ids, shards.labels, strict=True)}
        assert found == classes


def test_color(tmp_path: Path) -> None:
    data = made_data(tmp_path)
    image = np.random.default_rng(1).integers(0, 256, (50, 40, 3), np.uint8)
    write_page(tmp_path / "pages" / "images" / "val" / "0.tif", image)
    run(data, tmp_path / "s", color=True)
    shards = ShardSet.open(tmp_path / "s" / "val" / "holistic")
    place = int(np.flatnonzero(shards.ids == "images/val/0.tif")[0])
    expected = fit(image[:, :, ::-1], WHOLE_PAGE, 32, 24)
    assert np.array_equal(shards.gather(np.array([place]))[0], expected)


def test_many_shards_and_second_run(tmp_path: Path) -> None:
    data = made_data(tmp_path, counts={"train": 600, "val": 6, "test": 6})
    run(data, tmp_path / "s", height=64, width=64, shard_mib=1)
    manifest = read_manifest(tmp_path / "s" / "train" / "top")
    assert [shard.name for shard in manifest.shards] == [f"shard-{i:05d}-of-00037.tfrecord" for i in range(37)]
    assert sum(shard.records for shard in manifest.shards) == manifest.count == 600
    assert manifest.histogram == {3: 200, 7: 200, 20: 200}
    before = files(tmp_path / "s")
    again = run(data, tmp_path / "s", height=64, width=64, shard_mib=1)
    assert (again.written, len(again.kept)) == ((), 9)
    assert files(tmp_path / "s") == before


def test_staging_that_a_late_kill_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All sets are complete, but the staging folder still exists."""
    data = made_data(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("data_tools.conversion.convert.remove_staging", lambda _: None)
        run(data, tmp_path / "s")
    left = [name for name in files(tmp_path / "s") if "unfinished" in name]
    assert left, "nothing was left to remove"
    assert run(data, tmp_path / "s").written == ()
    run(data, tmp_path / "undisturbed")
    assert files(tmp_path / "s") == files(tmp_path / "undisturbed")


def test_a_new_region_is_added(tmp_path: Path) -> None:
    data = made_data(tmp_path)
    run(data, tmp_path / "all")
    shards = ShardConfig(folder=str(tmp_path / "s"), **SMALL)  # type: ignore[arg-type]
    convert(data, shards, regions={"top": REGIONS["top"]}, seed=1, workers=2)
    summary = convert(data, shards, regions=REGIONS, seed=1, workers=2)
    assert sorted(summary.written) == ["test/right", "train/right", "val/right"]
    assert files(tmp_path / "s") == files(tmp_path / "all")


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"height": 16}, "settings.height: 32 -> 16"),
        ({"encoding": "png"}, "settings.encoding: 'raw' -> 'png'"),
        ({"seed": 2}, "seed: 1 -> 2"),
    ],
)
def test_changed_settings_are_rejected(tmp_path: Path, settings: dict[str, object], difference: str) -> None:
    data = made_data(tmp_path)
    run(data, tmp_path / "s")
    with pytest.raises(UserError, match=difference):
        run(data, tmp_path / "s", **settings)  # type: ignore[arg-type]


def test_changed_labels_are_rejected(tmp_path: Path) -> None:
    run(made_data(tmp_path), tmp_path / "s")
    with pytest.raises(UserError, match="class_ids"):
        run(data_config(tmp_path, classes=(3, 7)), tmp_path / "s")
    text = (tmp_path / "val.txt").read_text()
    (tmp_path / "val.txt").write_text("".join(text.splitlines(keepends=True)[3:]))
    with pytest.raises(UserError, match=r"val/holistic: was converted with other settings .labels_fingerprint"):
        run(data_config(tmp_path), tmp_path / "s")


def test_shares_written_on_other_hosts_give_the_same_bytes(tmp_path: Path) -> None:
    data = made_data(tmp_path, counts={"train": 600, "val": 6, "test": 6})
    settings = SMALL | {"height": 64, "width": 64, "shard_mib": 1}
    run(data, tmp_path / "alone", **settings)
    done: list[dict[str, object]] = []

    def elsewhere(payloads: list[dict[str, object]]) -> None:
        # The host of one share is lost; the caller converts that share.
        done.extend(write_share(json.loads(json.dumps(payload))) for payload in payloads[1:])

    shards = ShardConfig(folder=str(tmp_path / "s"), **settings)  # type: ignore[arg-type]
    convert(data, shards, regions=REGIONS, seed=1, workers=2, share_runner=ShareRunner(3, elsewhere))
    assert sum(share["pages"] for share in done) < 612, "the first share was left undone"
    assert all(share["pages"] > 150 for share in done)
    assert files(tmp_path / "s") == files(tmp_path / "alone")


def test_folder_tree(tmp_path: Path) -> None:
    for number, name in enumerate(["train/memo", "train/form", "val/memo", "val/form", "test/form", "test/memo"]):
        write_page(tmp_path / name / "a.tif", page(number))
    places = {split: str(tmp_path / split) for split in ("train", "val", "test")}
    run(DataConfig(root=str(tmp_path), **places), tmp_path / "s")
    manifest = read_manifest(tmp_path / "s" / "train" / "holistic")
    assert manifest.class_names == ("form", "memo")
    assert ShardSet.open(tmp_path / "s" / "test" / "top").ids.tolist() == ["test/memo/a.tif", "test/form/a.tif"]


BAD = {
    "empty.tif": b"",
    "text.tif": b"no picture",
    "bomb.png": png_header(100_000, 100_000),
    "cut.tif": b"",
}


def with_bad_pages(folder: Path, **settings: object) -> DataConfig:
    made_data(folder)
    good = (folder / "pages" / "images" / "train" / "0.tif").read_bytes()
    lines = ["missing.tif 3\n", "folder 3\n"]
    (folder / "pages" / "folder").mkdir()
    for name, content in (BAD | {"cut.tif": good[: len(good) // 2]}).items():
        (folder / "pages" / name).write_bytes(content)
        lines.append(f"{name} 7\n")
    with (folder / "train.txt").open("a") as file:
        file.writelines(lines)
    return data_config(folder, **settings)


def test_bad_pages_are_rejected(tmp_path: Path) -> None:
    data = with_bad_pages(tmp_path, max_rejected=6.0)
    summary = run(data, tmp_path / "s", workers=1)
    assert (summary.pages, summary.rejected) == (69, 6)
    reasons = rejected(tmp_path / "s")
    assert set(reasons) == {*BAD, "missing.tif", "folder"}
    assert reasons["missing.tif"] == "no such file"
    assert reasons["empty.tif"] == "empty file"
    assert "pixels" in reasons["bomb.png"]
    manifest = read_manifest(tmp_path / "s" / "train" / "top")
    assert (manifest.count, manifest.rejected) == (40, 6)
    for name in SETS:
        assert check(tmp_path / "s" / name, deep=True) == []
    run(data, tmp_path / "s7", workers=7)
    assert files(tmp_path / "s") == files(tmp_path / "s7")


def test_too_many_bad_pages_stop_the_conversion_and_repaired_ones_continue_it(tmp_path: Path) -> None:
    data = with_bad_pages(tmp_path, max_rejected=5.0)
    with pytest.raises(UserError, match=r"6 of 69 pages cannot be used, more than data.max_rejected allows \(5\)"):
        run(data, tmp_path / "s", workers=1)
    assert not (tmp_path / "s" / "train").exists()
    assert len(rejected(tmp_path / "s")) == 6
    write_page(tmp_path / "pages" / "missing.tif", page(1000))
    assert run(data, tmp_path / "s").rejected == 5
    run(data, tmp_path / "fresh")
    assert files(tmp_path / "s") == files(tmp_path / "fresh")


def test_a_class_without_a_readable_page(tmp_path: Path) -> None:
    data = made_data(tmp_path, max_rejected=1000.0)
    for line in (tmp_path / "train.txt").read_text().splitlines():
        name, class_id = line.split()
        if class_id == "20":
            Path(data.root, name).unlink()
    with pytest.raises(UserError, match=r"class 20 \(.*\): all its training pages were rejected"):
        run(data, tmp_path / "s")


def test_a_second_conversion_at_the_same_time_is_rejected(tmp_path: Path) -> None:
    data = made_data(tmp_path)
    problems: list[str] = []

    def second(*_: int) -> None:
        try:
            run(data, tmp_path / "s")
        except UserError as error:
            problems.append(str(error))

    shards = ShardConfig(folder=str(tmp_path / "s"), **SMALL)  # type: ignore[arg-type]
    convert(data, shards, regions=REGIONS, seed=1, workers=1, progress=second)
    assert problems and all("another conversion is writing there" in problem for problem in problems)


def test_temporary_files_of_a_killed_conversion_are_removed(tmp_path: Path) -> None:
    made_data(tmp_path)
    run(data_config(tmp_path), tmp_path / "s")
    complete = files(tmp_path / "s")
    (tmp_path / "s" / ".unfinished-rejected.jsonl-11336c34").write_bytes(b"")
    run(data_config(tmp_path), tmp_path / "s")
    assert files(tmp_path / "s") == complete


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    data = with_bad_pages(tmp_path, max_rejected=10.0)
    shards = ShardConfig(folder=str(tmp_path / "s"), **SMALL)  # type: ignore[arg-type]
    convert(data, shards, regions={}, seed=1, workers=2, progress=lambda *now: seen.append(now))
    assert seen[0] == (0, 69, 0)
    assert seen[-1] == (69, 69, 6)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_a_failed_write_is_one_line_and_the_next_run_continues(tmp_path: Path) -> None:
    data = made_data(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Worker processes inherit the limit; writing beyond it fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match=r"File too large; fix it and run the same command again"):
            run(data, tmp_path / "s", encoding="png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "s").rglob("manifest.json"))
    run(data, tmp_path / "s", encoding="png")
    run(data, tmp_path / "undisturbed", encoding="png")
    assert files(tmp_path / "s") == files(tmp_path / "undisturbed")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    data = made_data(tmp_path, counts={"train": 300, "val": 6, "test": 6})
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        return  # Mounting needs root; the test above covers everything except the kernel's message.
    try:
        with pytest.raises(UserError, match="do not fit"):
            run(data, small / "raw")
        with pytest.raises(UserError, match=r"No space left on device; fix it and run the same command again"):
            run(data, small / "png", encoding="png")
        assert not list(small.rglob("manifest.json"))
        subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
        run(data, small / "png", encoding="png")
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.real_pages
def test_real_pages(tmp_path: Path, real_pages: Path) -> None:
    summary = run(real_data(real_pages), tmp_path / "s")
    assert (summary.pages, summary.rejected) == (200, 0)
    shards = ShardSet.open(tmp_path / "s" / "test" / "right")
    for name, image in zip(shards.ids, shards.gather(np.arange(len(shards))), strict=True):
        assert np.array_equal(image, fit(read_page(real_pages / name), REGIONS["right"], 32, 24))
    assert rejected(tmp_path / "s") == {}
