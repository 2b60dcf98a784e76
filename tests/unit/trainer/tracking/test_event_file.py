"""Event files over several attempts of a job, as TensorBoard reads them."""

import resource
from pathlib import Path

import pytest

from tests.helpers.event_points import points_in
from tests.unit.trainer.job_folder.test_journal import full_disk
from trainer.tracking import event_file
from trainer.tracking.event import Picture, event, file_start, points_of
from trainer.tracking.event_file import EventFile, event_files


def scalar(step: int, value: float, tag: str = "training/loss") -> bytes:
    return event(step, wall_time=1000.0 + step, scalars={tag: value})


def new_file(folder: Path, *, up_to: int = 0) -> EventFile:
    """The file of an attempt that resumes from step `up_to`."""
    file = EventFile(folder, keep=lambda step, tag: step <= up_to)
    file.begin()
    return file


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    png = b"\x89PNG not really"
    file = new_file(tmp_path)
    file.add(event(2**40, wall_time=1.5, scalars={"training/größe": 0.5, "b": float("nan")}))
    file.add(event(300, wall_time=1.5, images={"pages/1": Picture(png, 300, 200, 3)}))
    points = points_in(tmp_path)
    assert points.scalars["training/größe"] == [(2**40, 0.5)]
    assert points.images == {"pages/1": [300]}


@pytest.mark.parametrize(
    ("value", "read"), [(1e300, float("inf")), (-1e39, float("-inf")), (3.4e38, 3.4e38), (0.0, 0.0)]
)
def test_figures_that_float32_does_not_hold(tmp_path: Path, value: float, read: float) -> None:
    new_file(tmp_path).add(scalar(1, value))
    assert points_in(tmp_path).scalars["training/loss"] == [(1, pytest.approx(read))]


def test_a_resumed_attempt_keeps_the_points_up_to_its_checkpoint(tmp_path: Path) -> None:
    first = new_file(tmp_path)
    for step in range(1, 8):
        first.add(scalar(step, step / 10))
    second = new_file(tmp_path, up_to=5)
    assert len(event_files(tmp_path)) == 1
    assert [step for step, _ in points_in(tmp_path).scalars["training/loss"]] == [1, 2, 3, 4, 5]
    second.add(scalar(6, 6.0))
    third = new_file(tmp_path, up_to=6)
    third.add(scalar(7, 7.0))
    points = points_in(tmp_path).scalars["training/loss"]
    assert points == [*((step, pytest.approx(step / 10)) for step in range(1, 6)), (6, 6.0), (7, 7.0)]


def test_points_of_two_files_that_a_kill_left_are_taken_once(tmp_path: Path) -> None:
    for number, value in ((1, 0.5), (2, 0.25)):
        path = tmp_path / f"{event_file.PREFIX}000000000{number}.host"
        path.write_bytes(file_start(1.0) + scalar(1, value))
    new_file(tmp_path, up_to=1)
    assert points_in(tmp_path).scalars["training/loss"] == [(1, 0.25)]


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_truncated_record_ends_what_is_read(tmp_path: Path, cut: int) -> None:
    content = file_start(1.0) + scalar(1, 0.5) + scalar(2, 0.25)
    assert [step for step, _, _ in points_of(content[:-cut])][:1] in ([1], [])
    assert 2 not in [step for step, _, _ in points_of(content[:-cut])]


@pytest.mark.parametrize("place", range(200))
def test_a_corrupt_byte_never_makes_a_wrong_point(place: int) -> None:
    content = bytearray(file_start(1.0) + scalar(1, 0.5) + scalar(2, 0.25))
    content[place % len(content)] ^= 0x41
    records = [record for _, _, record in points_of(bytes(content))]
    assert all(record in (scalar(1, 0.5), scalar(2, 0.25)) for record in records)


def test_a_full_disk_is_one_warning_and_nothing_is_lost_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = new_file(tmp_path)
    file.add(scalar(1, 0.5))
    with full_disk():
        file.add(scalar(2, 0.5))
        file.add(scalar(3, 0.5))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "File too large" in caplog.text
    file.add(scalar(4, 0.5))
    assert [step for step, _ in points_in(tmp_path).scalars["training/loss"]] == [1, 2, 3, 4]


def test_a_disk_that_fills_up_within_a_record_leaves_no_part_of_it(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    file.add(scalar(1, 0.5))
    (path,) = event_files(tmp_path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        file.add(scalar(2, 0.5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_tolerated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "job").write_text("a file where the folder should be")
    file = new_file(tmp_path / "job")
    file.add(scalar(1, 0.5))
    assert len(caplog.records) == 1


def test_memory_is_bounded_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "MOST_UNWRITTEN", 100)
    file = new_file(tmp_path / "absent")
    for step in range(50):
        file.add(scalar(step, 0.5))
    (tmp_path / "absent").mkdir()
    file.add(scalar(99, 0.5))
    assert len(points_in(tmp_path / "absent").scalars["training/loss"]) <= 2
