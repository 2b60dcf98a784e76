"""A plan as people and programs read it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launch.planning.cost import JobCost
from launch.planning.estimate import HOUR, WORTH, Estimate, Known, stops_at

MILLI = 1000
TOLD = 0.005
"""Share of the time from which on a part is worth a word."""


def print_estimate(found: Estimate, known: Known, notes: Mapping[str, str], console: Console) -> None:
    """The jobs with their groups, waves, steps and times, then the sum and what limits it."""
    gpus = not known.machine.cores
    unit = "GPU" if gpus else "slot"
    hosts = "1 host" if len(found.hosts) == 1 else f"{len(found.hosts)} hosts"
    console.print(f"{found.slots} {unit}{'' if found.slots == 1 else 's'} on {hosts}; "
                  f"pages {escape(notes['pages'])}; {escape(notes['speed'])}")  # fmt: skip
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("job", "wave", "group"):
        table.add_column(column, no_wrap=True)
    for column in ("epochs", "steps", "batch", "step", "compute", "sends", "reads", "starts", "lasts", f"{unit} h"):
        table.add_column(column, justify="right", no_wrap=True)
    for cost in found.costs:
        table.add_row(*_row(found, cost))
    console.print(table)
    network = known.network
    largest = max(cost.gradient_bytes for cost in found.costs)
    console.print(
        f"gradients {size(largest)} a step over {size(network.inside)}/s inside a host and "
        f"{size(network.between)}/s between hosts; {size(sum(cost.read_bytes for cost in found.costs))} to read"
    )
    console.print(
        f"[bold]{duration(found.seconds)}[/], {found.busy_slot_hours:.1f} {unit} hours in use, "
        f"{found.held_slot_hours:.1f} if all are kept to the end"
    )
    parts = {name: seconds / found.seconds for name, seconds in found.shares().items()}
    told = ", ".join(f"{name} {part:.0%}" for name, part in parts.items() if part > TOLD)
    console.print(f"where the time goes: {told}")


def _row(found: Estimate, cost: JobCost) -> list[str]:
    group = cost.placement.group.hosts
    where = f"{cost.workers} on {next(iter(group))}" if len(group) == 1 else f"{cost.workers} on {len(group)} hosts"
    times = found.times[cost.name]
    trained = bool(cost.steps)
    return [
        cost.name,
        str(cost.placement.wave + 1),
        where,
        str(cost.epochs) if trained else "",
        f"{cost.epochs * cost.steps:,}" if trained else "",
        str(cost.worker_batch) if trained else "",
        f"{MILLI * cost.step_s:.0f} ms" if trained else "",
        f"{MILLI * (cost.fixed_step_s + cost.pages_step_s):.0f} ms" if trained else "",
        f"{MILLI * cost.send_step_s:.0f} ms" if trained and cost.workers > 1 else "",
        size(cost.read_bytes) if trained else "",
        duration(times.start, short=True),
        duration(cost.seconds, short=True),
        f"{cost.workers * cost.seconds / HOUR:.2f}",
    ]


def print_scaling(steps: Sequence[Estimate], console: Console) -> None:
    """The recipe on more and more GPUs, and where more of them stop paying."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("GPUs", "hosts", "time", "speed-up", "efficiency", "GPU h used", "GPU h kept"):
        table.add_column(column, justify="right")
    table.add_column("mostly")
    for one in steps:
        speed_up = steps[0].seconds / one.seconds
        table.add_row(
            str(one.slots),
            str(len(one.hosts)),
            duration(one.seconds),
            f"{speed_up:.1f}",
            f"{speed_up / one.slots:.0%}",
            f"{one.busy_slot_hours:.0f}",
            f"{one.held_slot_hours:.0f}",
            one.limit,
        )
    console.print(table)
    console.print(sentence(steps))


def sentence(steps: Sequence[Estimate]) -> str:
    """Where more GPUs stop paying, and why."""
    last = stops_at(steps)
    if last is steps[-1]:
        return f"up to {last.slots} GPUs, twice as many make the run at least {WORTH:g} times shorter"
    twice = next(one for one in steps if one.slots > last.slots)
    gain = last.seconds / twice.seconds
    reasons = list(twice.shares())[:2]
    return (
        f"beyond {last.slots} GPUs it stops paying: {twice.slots} are {gain:.2f} times as fast, "
        f"and most of that time goes to {reasons[0]} and {reasons[1]}"
    )


def as_data(found: Estimate, known: Known, notes: Mapping[str, str]) -> dict[str, Any]:
    """The plan as plain data; seconds and bytes."""
    return {
        **notes,
        "hosts": {host.name: host.slots for host in found.hosts},
        "jobs": [
            {
                "name": cost.name,
                "stage": cost.stage,
                "wave": cost.placement.wave,
                "group": cost.placement.group.hosts,
                "epochs": cost.epochs,
                "steps": cost.epochs * cost.steps,
                "worker_batch": cost.worker_batch,
                "step_s": cost.step_s,
                "send_step_s": cost.send_step_s,
                "gradient_bytes": cost.gradient_bytes,
                "read_bytes": cost.read_bytes,
                "starts_s": found.times[cost.name].start,
                "seconds": cost.seconds,
                "shares_s": cost.shares(),
            }
            for cost in found.costs
        ],
        "total": {
            "slots": found.slots,
            "hosts": len(found.hosts),
            "seconds": found.seconds,
            "busy_slot_hours": found.busy_slot_hours,
            "held_slot_hours": found.held_slot_hours,
            "shares_s": found.shares(),
        },
        "network": vars(known.network),
    }


def duration(seconds: float, *, short: bool = False) -> str:
    """Seconds as people say them: `42 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`; short: `0:00:42`, `76:12:00`."""
    whole = round(seconds)
    if short:
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    for unit, part, name in ((86400, 3600, "d h"), (3600, 60, "h min"), (60, 1, "min s")):
        if whole >= unit:
            big, small = name.split()
            return f"{whole // unit} {big} {whole % unit // part} {small}"
    return f"{whole} s"


def size(count: float) -> str:
    """Bytes in powers of a thousand: `217 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB" if count < 1000 else f"{count:,.0f} TB"
