"""Lengths of time, moments and groups of slots in words, the same wherever a person meets them."""

import datetime
from collections.abc import Mapping
from typing import Any


def group_text(group: Mapping[str, Any]) -> str:
    """A group of slots in words: `node1 ×2, node2 ×2`."""
    return ", ".join(f"{host} ×{count}" for host, count in group.items())


def duration(seconds: float) -> str:
    """A length of time with its two leading units: `42 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def clock(moment: float, now: float) -> str:
    """Local time of day of `moment`, with its date where that is not the date of `now`."""
    then, today = datetime.datetime.fromtimestamp(moment), datetime.datetime.fromtimestamp(now)
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M:%S")
