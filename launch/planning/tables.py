"""Prints a plan as tables, and returns it as plain data."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from launch.planning.cost import EstimateInputs, JobCost, PageCounts
from launch.planning.estimate import HOUR, MIN_SPEEDUP, Estimate, last_worthwhile
from launch.planning.inputs import GIGABIT
from launch.planning.recommend import SLOWER, StageWorkers
from launch.terminal.wording import counted, duration, size_text

MILLI = 1000
MIN_SHARE_SHOWN = 0.005
"""Activities below this share of the time are not printed."""


def print_estimate(plan: Estimate, inputs: EstimateInputs, *, pages_source: str, console: Console) -> None:
    """Print the jobs with their groups, steps and times, then the total and what it is spent on."""
    unit = "slot" if inputs.machine.cores else "GPU"
    pages, network = inputs.pages, inputs.network
    console.print(
        f"{counted(plan.slots, unit)} on {counted(len(plan.hosts), 'host')}; "
        f"pages {pages.train:,} / {pages.val:,} / {pages.test:,} ({escape(pages_source)}); "
        f"speed {escape(inputs.machine.speed)}"
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("job", "group"):
        table.add_column(column, overflow="fold")
    columns = ("epochs", "steps", "batch", "step", "all-reduce", "reads", "starts at", "takes", f"{unit} h")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for cost in plan.costs:
        table.add_row(*_row(plan, cost))
    console.print(table)
    console.print(
        f"gradients: {size_text(max(cost.gradient_bytes for cost in plan.costs))} per step, over "
        f"{network.intra_host / GIGABIT:g} Gbit/s inside a host and {network.inter_host / GIGABIT:g} between hosts"
    )
    console.print(
        f"shards: {size_text(sum(cost.read_bytes for cost in plan.costs))} to read, at up to "
        f"{size_text(max(cost.host_read_rate for cost in plan.costs))}/s per host"
    )
    console.print(
        f"total: [bold]{duration(plan.seconds)}[/], {plan.used_slot_hours:.1f} {unit} hours used, "
        f"{plan.reserved_slot_hours:.1f} if all {unit}s stay reserved to the end"
    )
    if line := folds_text(plan, unit):
        console.print(line)
    shares = {activity: seconds / plan.seconds for activity, seconds in plan.breakdown().items()}
    shown = ", ".join(f"{activity} {share:.0%}" for activity, share in shares.items() if share > MIN_SHARE_SHOWN)
    console.print(f"time spent on: {shown}")


def folds_text(plan: Estimate, unit: str) -> str:
    """What the jobs of the folds cost, in one line; empty without folds."""
    jobs = [cost for cost in plan.costs if cost.folds]
    if not jobs:
        return ""
    hours = sum(cost.workers * cost.seconds for cost in jobs) / HOUR
    used = f"{hours:.1f} {unit} hours of these, {hours / plan.used_slot_hours:.0%}"
    return f"folds: {counted(len(jobs), 'job')} of {jobs[0].folds} folds use {used}"


def _row(plan: Estimate, cost: JobCost) -> list[str]:
    group = cost.group.hosts
    training = [""] * 6
    if cost.steps:
        training = [
            str(cost.epochs),
            f"{cost.epochs * cost.steps:,}",
            str(cost.worker_batch),
            f"{MILLI * cost.step_s:.0f} ms",
            f"{MILLI * cost.step_allreduce_s:.0f} ms" if cost.workers > 1 else "",
            size_text(cost.read_bytes),
        ]
    return [
        cost.name,
        f"{cost.workers} on {next(iter(group)) if len(group) == 1 else counted(len(group), 'host')}",
        *training,
        duration(plan.spans[cost.name].start),
        duration(cost.seconds),
        f"{cost.workers * cost.seconds / HOUR:.2f}",
    ]


def print_recommended(stages: Sequence[StageWorkers], console: Console, *, unit: str) -> None:
    """Print the numbers of workers that are worth having, as the setting that brings them; nothing on one slot."""
    if all(len(stage.choices) == 1 for stage in stages):
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stage")
    for column in ("fastest", "takes", f"{unit} h", "recommended", "takes", f"{unit} h"):
        table.add_column(column, justify="right")
    for stage in stages:
        row = [stage.stage]
        for choice in (stage.fastest, stage.recommended):
            row += [counted(choice.workers, "worker"), duration(choice.seconds), f"{choice.slot_hours:.2f}"]
        table.add_row(*row)
    console.print(table)
    setting = ", ".join(f"{stage.stage}: {stage.recommended.workers}" for stage in stages)
    console.print(
        f"recommended: the cheapest that takes at most {SLOWER - 1:.0%} longer than the fastest; to use it:\n"
        f"  --set 'cluster.workers_per_stage={{{setting}}}'"
    )


def recommended_as_data(stages: Sequence[StageWorkers]) -> dict[str, Any]:
    """Fastest and recommended numbers of workers by stage, and the time of each possible number, as plain data."""
    return {
        stage.stage: {
            "fastest": stage.fastest.workers,
            "recommended": stage.recommended.workers,
            "choices": [vars(choice) for choice in stage.choices],
        }
        for stage in stages
    }


def print_scaling(plans: Sequence[Estimate], console: Console) -> None:
    """Print the recipe on growing numbers of GPUs, and the number beyond which more do not pay off."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("GPUs", "hosts", "time", "speed-up", "efficiency", "GPU h used", "GPU h reserved"):
        table.add_column(column, justify="right")
    table.add_column("bottleneck")
    for plan in plans:
        speedup = plans[0].seconds / plan.seconds
        table.add_row(
            str(plan.slots),
            str(len(plan.hosts)),
            duration(plan.seconds),
            f"{speedup:.1f}",
            f"{speedup / plan.slots:.0%}",
            f"{plan.used_slot_hours:.0f}",
            f"{plan.reserved_slot_hours:.0f}",
            next(iter(plan.breakdown())),
        )
    console.print(table)
    console.print(scaling_limit(plans))


def scaling_limit(plans: Sequence[Estimate]) -> str:
    """A sentence on the number of GPUs beyond which more do not pay off, and why."""
    last = last_worthwhile(plans)
    if last is plans[-1]:
        return f"up to {last.slots} GPUs, each doubling shortens the run at least {MIN_SPEEDUP:g} times"
    doubled = plans[plans.index(last) + 1]
    first, second, *_ = doubled.breakdown()
    return (
        f"more than {last.slots} GPUs do not pay off: {doubled.slots} are {last.seconds / doubled.seconds:.2f} times "
        f"as fast, and spend most of the time on {first} and {second}"
    )


def as_data(plan: Estimate, inputs: EstimateInputs, *, pages_source: str) -> dict[str, Any]:
    """The plan as plain data, for `--json`; times in seconds, sizes in bytes."""
    return {
        "pages": {**_page_counts(inputs.pages), "source": pages_source},
        "speed": inputs.machine.speed,
        "hosts": {host.name: host.slots for host in plan.hosts},
        "jobs": [
            {
                "name": cost.name,
                "stage": cost.stage,
                "folds": cost.folds,
                "group": cost.group.hosts,
                "epochs": cost.epochs,
                "steps": cost.epochs * cost.steps,
                "worker_batch": cost.worker_batch,
                "step_s": cost.step_s,
                "allreduce_s": cost.step_allreduce_s,
                "gradient_bytes": cost.gradient_bytes,
                "read_bytes": cost.read_bytes,
                "starts_s": plan.spans[cost.name].start,
                "seconds": cost.seconds,
                "breakdown_s": cost.breakdown(),
            }
            for cost in plan.costs
        ],
        "total": totals(plan),
        "network": vars(inputs.network),
    }


def _page_counts(pages: PageCounts) -> dict[str, int]:
    return {name: getattr(pages, name) for name in ("train", "val", "test", "record_bytes")}


def totals(plan: Estimate) -> dict[str, Any]:
    """Time and slot hours of a plan as plain data."""
    return {
        "slots": plan.slots,
        "hosts": len(plan.hosts),
        "seconds": plan.seconds,
        "used_slot_hours": plan.used_slot_hours,
        "reserved_slot_hours": plan.reserved_slot_hours,
        "breakdown_s": plan.breakdown(),
    }
