"""What an examination of hosts finds, and what they are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["error", "warning", "note"]


LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One line for a person: what, where, and how to mend it."""

    level: Level
    check: str
    where: str
    what: str
    mend: str

    def line(self) -> str:
        """`HOST: what; mend`."""
        return f"{self.where}: {self.what}; {self.mend}" if self.mend else f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the hosts are held against.

    gpus: whether jobs train on GPUs where there are any. interface: the one that is configured. locked: versions
    that the project is tested with. run_folder, shards_folder: paths, None where no configuration names them.
    shards_complete: whether nothing is left to convert, so that the shards need not be written.
    """

    gpus: bool = True
    interface: str | None = None
    locked: Mapping[str, str] = field(default_factory=dict)
    run_folder: str | None = None
    shards_folder: str | None = None
    shards_complete: bool = False


def errors(findings: Sequence[Finding]) -> list[Finding]:
    """Those with which no job should start."""
    return [finding for finding in findings if finding.level == "error"]
