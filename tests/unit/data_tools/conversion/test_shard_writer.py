"""Shards written by one process: what a receipt vouches for, what an interruption leaves, what is written again."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.conversion.shard_plan import ShardConfig, ShardPlan, Work, plan_split
from data_tools.conversion.shard_writer import write_shard
from data_tools.conversion.staging import open_staging, read_receipt, receipt_path, remaining_work, shard_path
from data_tools.documents.data_set import read_data_set
from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE, Box
from data_tools.errors import UserError
from data_tools.files import UNFINISHED
from data_tools.shards.records import file_checksum
from data_tools.workers.child import STATUS_WORDS, Items
from tests.helpers.synthetic_pages import made_data

BOXES = {HOLISTIC: WHOLE_PAGE, "top": Box(0.0, 0.0, 1.0, 0.5)}


class KilledHere(BaseException):
    """Stands for whatever ends a process between two pages."""


class KilledItems(Items):
    """Ends the process at its third page."""

    def begin(self, item: int) -> str | None:
        if item == 2:
            raise KilledHere
        return super().begin(item)


def items(kind: type[Items] = Items) -> Items:
    return kind(memoryview(bytearray(8 * STATUS_WORDS)).cast("q"), 60.0)


@pytest.fixture
def background() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def work(tmp_path: Path) -> Work:
    staging = open_staging(tmp_path, "this conversion")
    return Work(made_data(tmp_path).root, str(staging), BOXES, ShardConfig(height=16, width=12))


@pytest.fixture
def plan(work: Work, tmp_path: Path) -> ShardPlan:
    labels = read_data_set(made_data(tmp_path), seed=1).labels["train"]
    return plan_split(labels, "train", seed=1, shards=work.shards, regions=list(BOXES))[0]


def paths(work: Work, plan: ShardPlan) -> list[Path]:
    return [shard_path(Path(work.staging), plan, region) for region in BOXES]


def unfinished(work: Work) -> list[Path]:
    return [*Path(work.staging).rglob(f"{UNFINISHED}*")]


def test_a_receipt_states_what_was_written(work: Work, plan: ShardPlan, background: Executor) -> None:
    assert not remaining_work(work, plan).complete
    assert write_shard(work, plan, items(), background=background) == []
    receipt = read_receipt(Path(work.staging), plan)
    assert receipt is not None
    assert [tuple(page) for page in receipt["kept"]] == list(plan.pages)
    for path, region in zip(paths(work, plan), BOXES, strict=True):
        assert receipt["regions"][region]["crc32c"] == file_checksum(path)
        assert receipt["regions"][region]["bytes"] == path.stat().st_size
    assert remaining_work(work, plan).complete
    assert unfinished(work) == []


@pytest.mark.parametrize("harm", ["delete", "truncate", "receipt"])
def test_a_shard_without_its_files_is_written_again(
    work: Work, plan: ShardPlan, background: Executor, harm: str
) -> None:
    write_shard(work, plan, items(), background=background)
    path = paths(work, plan)[1]
    before = path.read_bytes()
    match harm:
        case "delete":
            path.unlink()
        case "truncate":
            path.write_bytes(before[:-1])
        case "receipt":
            receipt_path(Path(work.staging), plan).unlink()
    assert not remaining_work(work, plan).complete
    write_shard(work, plan, items(), background=background)
    assert remaining_work(work, plan).complete
    assert path.read_bytes() == before


def test_an_interruption_leaves_nothing_under_a_final_name(work: Work, plan: ShardPlan, background: Executor) -> None:
    with pytest.raises(KilledHere):
        write_shard(work, plan, items(KilledItems), background=background)
    assert not any(path.exists() for path in paths(work, plan))
    assert not remaining_work(work, plan).complete
    assert unfinished(work) == []


def test_what_a_killed_process_left_is_deleted_when_the_conversion_resumes(
    work: Work, plan: ShardPlan, tmp_path: Path
) -> None:
    left = Path(work.staging, plan.split, f"{UNFINISHED}top-{plan.name}-1234")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a shard")
    assert open_staging(tmp_path, "this conversion") == Path(work.staging)
    assert not left.exists()


def test_a_shard_leaves_nothing_of_the_processes_that_died_at_it(
    work: Work, plan: ShardPlan, background: Executor
) -> None:
    """A page that crashes the decoder costs two processes, and each leaves up to one shard per region."""
    left = Path(work.staging, plan.split, f"{UNFINISHED}top-{plan.name}-1234")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a shard")
    write_shard(work, plan, items(), background=background)
    assert unfinished(work) == []


def test_a_rejected_page_is_read_again_once_its_file_changes(work: Work, plan: ShardPlan, background: Executor) -> None:
    bad = Path(work.root, plan.pages[3].page_id)
    intact = bad.read_bytes()
    bad.write_bytes(b"no picture")
    (page,) = write_shard(work, plan, items(), background=background)
    assert (page["page"], page["label"]) == plan.pages[3]
    assert remaining_work(work, plan).rejected == [page]
    bad.write_bytes(intact)
    assert not remaining_work(work, plan).complete
    assert write_shard(work, plan, items(), background=background) == []


def test_a_region_more_needs_the_pages_again(work: Work, plan: ShardPlan, background: Executor) -> None:
    write_shard(work, replace(plan, regions=(HOLISTIC,)), items(), background=background)
    assert remaining_work(work, replace(plan, regions=(HOLISTIC,))).complete
    assert not remaining_work(work, plan).complete


def test_a_deleted_folder_is_one_line(work: Work, plan: ShardPlan, background: Executor) -> None:
    class DeletedItems(Items):
        def begin(self, item: int) -> str | None:
            if item == 2:
                shutil.rmtree(work.staging)
            return super().begin(item)

    with pytest.raises(UserError, match="was deleted during the conversion"):
        write_shard(work, plan, items(DeletedItems), background=background)


def test_a_folder_that_cannot_be_written_names_it(work: Work, plan: ShardPlan, background: Executor) -> None:
    place = paths(work, plan)[0].parent
    place.parent.mkdir(parents=True)
    place.write_text("in the way")
    with pytest.raises(FileExistsError) as raised:
        write_shard(work, plan, items(), background=background)
    assert raised.value.filename == str(place)
