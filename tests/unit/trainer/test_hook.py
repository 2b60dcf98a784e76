"""The progress hook: named by the environment, called with the progress, and absent otherwise."""

import importlib
from pathlib import Path

import pytest

from data_tools.errors import UserError
from trainer.hook import PROGRESS_HOOK, Progress, on_progress

BEGIN = Progress(
    run=Path("run"), folder=Path("run/jobs/top"), job="top", attempt=2, rank=1, wait_for_checkpoint=lambda: None
)
SEEN: list[Progress] = []


def see(progress: Progress) -> None:
    SEEN.append(progress)


def test_without_the_variable_nothing_is_imported_or_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(name: str) -> None:
        raise AssertionError(f"{name} is imported")

    monkeypatch.delenv(PROGRESS_HOOK, raising=False)
    monkeypatch.setattr(importlib, "import_module", reject)
    on_progress(BEGIN)("training", 3, 0)


def test_the_hook_is_called_with_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_HOOK, f"{__name__}:see")
    SEEN.clear()
    report = on_progress(BEGIN)
    report("training", 3, 0)
    report("evaluating", 3, 2)
    assert [(p.job, p.attempt, p.rank, p.phase, p.step, p.batch) for p in SEEN] == [
        ("top", 2, 1, "training", 3, 0),
        ("top", 2, 1, "evaluating", 3, 2),
    ]


@pytest.mark.parametrize("value", ["drill", "drill:", ":fire", "no_such_module:fire", "trainer.hook:no_such_function"])
def test_a_hook_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(PROGRESS_HOOK, value)
    with pytest.raises(UserError, match=f"{PROGRESS_HOOK}: {value} "):
        on_progress(BEGIN)
