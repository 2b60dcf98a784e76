"""Python stacks of the ranks of a world that hangs, which the workers write on a signal."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ANSWER_S = 10.0
POLL_S = 0.05
IN_A_COLLECTIVE = re.compile(r"[/\\](tensorflow|horovod|keras)[/\\]")
"""A rank whose innermost frame lies in one of these packages computes, or waits for other ranks."""


def take_stacks(logs: Sequence[Path], request: Callable[[], None], *, answer_s: float = ANSWER_S) -> dict[int, str]:
    """The stacks by rank, innermost frame first, of the ranks that answered within `answer_s` seconds.

    logs: the ranks' output files, to which a worker appends its stack after `request` has sent it the signal.
    """
    before = [_size(log) for log in logs]
    request()
    until = time.monotonic() + answer_s
    found = [_stack(_since(log, size)) for log, size in zip(logs, before, strict=True)]
    while time.monotonic() < until and not all(map(_complete, found)):
        time.sleep(POLL_S)
        found = [_stack(_since(log, size)) for log, size in zip(logs, before, strict=True)]
    return {rank: stack for rank, stack in enumerate(found) if stack}


def not_in_a_collective(stacks: Mapping[int, str]) -> int | None:
    """The rank that neither computes nor waits for others, where there is exactly one."""
    outside = [rank for rank, stack in stacks.items() if not IN_A_COLLECTIVE.search(_first_file(stack))]
    return outside[0] if len(outside) == 1 and len(stacks) > 1 else None


def _first_file(stack: str) -> str:
    return next((line for line in stack.splitlines() if line.lstrip().startswith("File ")), "")


def _complete(stack: str) -> bool:
    """Whether the outermost frame is there, which is that of the main thread's module."""
    return stack.endswith(" in <module>")


def _stack(text: str) -> str:
    """The frames of the last stack in `text`."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if "(most recent call first)" in line]
    if not starts:
        return ""
    frames = []
    for line in lines[starts[-1] + 1 :]:
        if not line.startswith("  File "):
            break
        frames.append(line)
    return "\n".join(frames)


def _since(log: Path, size: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(size)
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
