"""The doctor's findings as a person reads them in a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.doctor.checks import CHECKS, NAMES
from cluster.doctor.facts import ClusterFacts
from cluster.doctor.findings import Finding, errors
from launch.wording import counted

MARKS = {"error": "[bold red]✗[/]", "warning": "[yellow]![/]", "note": "[cyan]i[/]"}
GOOD = "[green]✓[/]"
SHOWN = ("python", "tensorflow", "horovod", "ray", "regionstack")


def print_findings(facts: ClusterFacts | None, findings: Sequence[Finding], console: Console) -> None:
    """One line a finding, and one for each check that found nothing; then the sum of it."""
    table = Table.grid(padding=(0, 1))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in CHECKS:
        of_check = [finding for finding in findings if finding.check == check]
        for finding in of_check:
            table.add_row(MARKS[finding.level], check, escape(finding.line()))
        good = facts is not None and all(finding.level == "note" for finding in of_check)
        if facts is not None and good and (text := passed(check, facts)):
            table.add_row(GOOD, check, escape(text))
    console.print(table)
    bad, doubtful = len(errors(findings)), sum(finding.level == "warning" for finding in findings)
    if bad:
        console.print(f"[bold red]{counted(bad, 'thing')} to mend before a job can run[/]")
    elif doubtful:
        console.print(f"ready; {counted(doubtful, 'thing')} to look at")
    else:
        console.print("[green]ready[/]")


def passed(check: str, facts: ClusterFacts) -> str | None:
    """What a check that found nothing wrong has seen; null where there was nothing to look at."""
    first, hosts = facts.nodes[0], counted(len(facts.nodes), "host")
    folders = [folder.path for folder in first.folders]
    match check:
        case "hosts":
            return f"{hosts}: {', '.join(node.host for node in facts.nodes)}"
        case "versions":
            plain = {name: version.partition("+")[0] for name, version in first.versions.items()}
            named = ", ".join(f"{NAMES[name]} {plain[name]}" for name in SHOWN if name in plain)
            return f"{named}, the same on {hosts}" if len(facts.nodes) > 1 else named
        case "horovod":
            return f"built with {', '.join(first.built)}" if first.built else None
        case "gpus":
            total = sum(node.ray_gpus for node in facts.nodes)
            return f"{counted(total, 'GPU')}, each of one host" if total else "no GPU; jobs train on cores"
        case "names":
            return ", ".join(f"{node.hostname} is {node.name_address}" for node in facts.nodes)
        case "network":
            return "every host reaches the others" if facts.several_hosts else "one host; worlds stay on it"
        case "storage":
            return f"read and written by {hosts}: {', '.join(folders)}" if folders else None
        case "disk":
            free = [f"{folder.free / 2**30:.0f} GiB free in {folder.path}" for folder in first.folders if folder.free]
            return ", ".join(free) or None
        case "clock":
            off = max(abs(node.clock_off_s) for node in facts.nodes)
            return f"within {off:.2f} s" if len(facts.nodes) > 1 else None
        case "limits":
            return f"{min(node.open_files for node in facts.nodes)} open files a process"
    return None
