"""Formats durations, moments, counts, sizes and slot groups for people, the same in every command and page."""

import datetime
from collections.abc import Mapping
from typing import Any


def group_text(group: Mapping[str, Any]) -> str:
    """A group of slots, given as slots by host: `node1 ×2, node2 ×2`."""
    return ", ".join(f"{host} ×{count}" for host, count in group.items())


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 page`, `1,200 pages`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration with its two leading units: `42 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size_text(count: float) -> str:
    """Bytes with three digits, in powers of 1,000: `65.7 kB`, `217 MB`, `9.51 TB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB" if round(count) < 1000 else f"{count:,.0f} TB"


def clock(moment: float, now: float) -> str:
    """Local time of day of `moment`, preceded by its date unless that is the date of `now` (both unix seconds)."""
    then, today = datetime.datetime.fromtimestamp(moment), datetime.datetime.fromtimestamp(now)
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M:%S")
