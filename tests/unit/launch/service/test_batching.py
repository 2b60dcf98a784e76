"""Pages of waiting files are joined, and each file gets its own rows back."""

import asyncio
import threading

import numpy as np
import pytest

from launch.service.batching import Batcher, Outputs, Regions


def pages(*values: int) -> Regions:
    return {"holistic": np.array(values, np.uint8).reshape(-1, 1, 1, 1)}


class Model:
    """Answers with the page's value; the first call waits until it may continue."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.may_continue = threading.Event()

    def predict(self, regions: Regions) -> Outputs:
        assert self.may_continue.wait(10)
        values = regions["holistic"].reshape(-1, 1).astype(np.float32)
        self.batches.append(len(values))
        if (values == 13).any():
            raise ValueError("a page that the model does not take")
        return {"stack": values}


async def ask(batcher: Batcher, model: Model, files: list[Regions]) -> list[Outputs | BaseException]:
    tasks = [asyncio.create_task(batcher.outputs(file)) for file in files]
    await asyncio.sleep(0)
    model.may_continue.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_waits_is_one_batch_and_each_file_gets_its_rows() -> None:
    model = Model()
    batcher = Batcher(model.predict, most=4)
    files = [pages(1), pages(2, 3), pages(4), pages(5), pages(6, 7, 8, 9, 10, 11), pages(12)]
    answers = asyncio.run(ask(batcher, model, files))
    rows = [answer["stack"].ravel().tolist() for answer in answers if not isinstance(answer, BaseException)]
    assert rows == [[1], [2, 3], [4], [5], [6, 7, 8, 9, 10, 11], [12]]
    assert model.batches == [4, 1, 6, 1]


def test_a_failed_batch_fails_its_files_alone() -> None:
    model = Model()
    batcher = Batcher(model.predict, most=1)
    answers = asyncio.run(ask(batcher, model, [pages(1), pages(13), pages(2)]))
    assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False]


def test_a_file_that_is_no_longer_wanted_does_not_hinder_others() -> None:
    model = Model()
    batcher = Batcher(model.predict, most=8)

    async def cancel_one() -> Outputs:
        gone = asyncio.create_task(batcher.outputs(pages(1)))
        kept = asyncio.create_task(batcher.outputs(pages(2)))
        await asyncio.sleep(0)
        gone.cancel()
        model.may_continue.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await kept

    assert asyncio.run(cancel_one())["stack"].tolist() == [[2]]
