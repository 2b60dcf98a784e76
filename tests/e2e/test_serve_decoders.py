"""The service's decoder processes: files that hang or crash them are rejected, and others are decoded meanwhile."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from launch.service import replica
from launch.service.decoder import Decoded, Rejection, Setup
from launch.service.replica import Decoders
from trainer.serving.decode import Cut

SETUP = Setup(Cut({"holistic": (0, 0, 1, 1)}, (16, 8, 1)), max_pages=3, max_pixels=10**6, file_s=60)
TIMEOUT_S = 0.5


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    monkeypatch.setattr(replica, "_DECODER", "tests.helpers.harmful_decoder:open_decoder")
    found = Decoders(SETUP, count=2, timeout_s=TIMEOUT_S)
    found.warm_up()
    yield found
    found.close()


async def decoded(decoders: Decoders, *contents: bytes) -> list[Decoded | BaseException]:
    tasks = [decoders.decode(content, preview=False) for content in contents]
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_files_that_harm_their_process_are_rejected_and_others_are_not(decoders: Decoders) -> None:
    started = time.monotonic()
    hang, crash, *others = asyncio.run(decoded(decoders, b"hang", b"crash", b"a", b"b", b"c"))
    assert isinstance(hang, Rejection) and "longer than" in hang.text
    assert isinstance(crash, Rejection) and "SIGSEGV" in crash.text
    assert others == [Rejection("unreadable", text) for text in ("a", "b", "c")]
    assert time.monotonic() - started < 30


def test_a_bug_is_raised_and_the_next_file_is_decoded(decoders: Decoders) -> None:
    bug, *others = asyncio.run(decoded(decoders, b"bug", b"a", b"b", b"c"))
    assert isinstance(bug, RuntimeError) and "ZeroDivisionError" in str(bug)
    assert others == [Rejection("unreadable", text) for text in ("a", "b", "c")]
