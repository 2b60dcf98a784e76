"""Shards joined while their parts are written: any order of parts, damaged parts, and leaving in the middle."""

import shutil
from pathlib import Path

import pytest

from data_tools.conversion.join import Joiner
from data_tools.conversion.parts import part_path, part_task, receipt_path, shard_path, write_part
from data_tools.conversion.shard_plan import ShardConfig, ShardPlan, Work, plan_split
from data_tools.conversion.staging import ShardState, read_receipt, remaining_work
from data_tools.documents.data_set import read_data_set
from data_tools.documents.regions import HOLISTIC, WHOLE_PAGE, Box
from data_tools.errors import UserError
from data_tools.files import UNFINISHED
from data_tools.workers.child import STATUS_WORDS, Items
from tests.helpers.synthetic_pages import made_data

BOXES = {HOLISTIC: WHOLE_PAGE, "top": Box(0.0, 0.0, 1.0, 0.5)}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(made_data(tmp_path).root, str(tmp_path / "staging"), BOXES, ShardConfig(height=16, width=12))


@pytest.fixture
def plan(work: Work, tmp_path: Path) -> ShardPlan:
    labels = read_data_set(made_data(tmp_path), seed=1).labels["train"]
    return plan_split(labels, "train", seed=1, shards=work.shards, regions=list(BOXES))[0]


def write(work: Work, plan: ShardPlan, *parts: int) -> None:
    for part in parts:
        items = Items(memoryview(bytearray(8 * STATUS_WORDS)).cast("q"), 60.0)
        assert write_part(work, part_task(Path(work.staging), plan, part), items) == []


def join(joiner: Joiner, state: ShardState) -> int | None:
    """One step of the join; the damaged part's number."""
    joiner.advance(state)
    ((advanced, damaged),) = joiner.results(block=True)
    assert advanced is state
    return damaged


def shards(work: Work, plan: ShardPlan) -> list[bytes]:
    return [shard_path(Path(work.staging), plan, region).read_bytes() for region in BOXES]


def unfinished(work: Work) -> list[Path]:
    return [*Path(work.staging).rglob(f"{UNFINISHED}*")]


@pytest.fixture
def expected(work: Work, plan: ShardPlan, tmp_path: Path) -> list[bytes]:
    """The bytes of both shards, joined at once; nothing of it is left in the staging folder."""
    write(work, plan, *range(len(plan.parts)))
    with Joiner(Path(work.staging)) as joiner:
        assert join(joiner, ShardState(plan)) is None
    joined = shards(work, plan)
    shutil.rmtree(work.staging)
    return joined


def test_parts_are_joined_as_they_come(work: Work, plan: ShardPlan, expected: list[bytes]) -> None:
    last = len(plan.parts) - 1
    assert last >= 3
    state = ShardState(plan, missing=set(range(last + 1)))
    with Joiner(Path(work.staging)) as joiner:
        for part in (1, 0, *range(2, last + 1)):
            assert not state.whole
            write(work, plan, part)
            state.missing.discard(part)
            if part != 1:
                assert join(joiner, state) is None
            joiner.advance(state)  # Nothing to do: the next part is missing, or the shard is whole.
            assert [*joiner.results(block=True)] == []
    assert state.whole
    assert shards(work, plan) == expected
    assert read_receipt(Path(work.staging), plan) is not None
    assert remaining_work(work, plan).whole
    assert not [*Path(work.staging).rglob("*.part")]
    assert unfinished(work) == []


@pytest.mark.parametrize("place", [0, 3000, -1], ids=["first region", "second region", "footer"])
def test_a_damaged_part_is_made_again(work: Work, plan: ShardPlan, expected: list[bytes], place: int) -> None:
    write(work, plan, *range(len(plan.parts)))
    damaged = part_path(Path(work.staging), plan, 2)
    raw = bytearray(damaged.read_bytes())
    raw[place] ^= 1
    damaged.write_bytes(raw)
    state = ShardState(plan)
    with Joiner(Path(work.staging)) as joiner:
        assert join(joiner, state) == 2
        assert not damaged.exists()
        assert not state.whole
        assert not receipt_path(Path(work.staging), plan).exists()
        write(work, plan, 2)
        assert join(joiner, state) is None
    assert state.whole
    assert shards(work, plan) == expected
    assert unfinished(work) == []


def test_a_part_that_is_gone_is_made_again(work: Work, plan: ShardPlan, expected: list[bytes]) -> None:
    write(work, plan, *range(1, len(plan.parts)))
    state = ShardState(plan)
    with Joiner(Path(work.staging)) as joiner:
        assert join(joiner, state) == 0
        write(work, plan, 0)
        assert join(joiner, state) is None
    assert shards(work, plan) == expected


def test_leaving_in_the_middle_leaves_the_parts_alone(work: Work, plan: ShardPlan) -> None:
    write(work, plan, 0, 1)
    state = ShardState(plan, missing=set(range(2, len(plan.parts))))
    with Joiner(Path(work.staging)) as joiner:
        assert join(joiner, state) is None
        assert len(unfinished(work)) == len(BOXES)
    assert unfinished(work) == []
    assert remaining_work(work, plan).missing == state.missing


def test_a_deleted_folder_is_told(work: Work, plan: ShardPlan) -> None:
    write(work, plan, 0, 1, 2)
    state = ShardState(plan, missing=set(range(1, len(plan.parts))))
    with Joiner(Path(work.staging)) as joiner:
        assert join(joiner, state) is None
        for region in BOXES:
            shutil.rmtree(shard_path(Path(work.staging), plan, region).parent)
        state.missing.discard(1)
        with pytest.raises(UserError, match="was deleted while it was written"):
            join(joiner, state)


def test_a_folder_that_cannot_be_written_is_told(work: Work, plan: ShardPlan) -> None:
    write(work, plan, *range(len(plan.parts)))
    place = shard_path(Path(work.staging), plan, HOLISTIC).parent
    place.write_text("in the way")
    with (
        Joiner(Path(work.staging)) as joiner,
        pytest.raises(UserError, match=rf"{place}.*run the same command again: it continues"),
    ):
        join(joiner, ShardState(plan))
