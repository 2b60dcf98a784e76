"""Examines the hosts before a job starts: the command `regionstack doctor`, and the short form in every run."""

import json
import logging
import socket
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.config import ClusterConfig
from cluster.doctor.checks import CHECKS, judge
from cluster.doctor.facts import ClusterFacts, Finding, Requirements, errors
from cluster.doctor.versions import NAMES
from cluster.setup.horovod_target import HOROVOD, LOCK, pinned
from data_tools.config import read_yaml
from data_tools.documents.data_set import SPLITS
from data_tools.errors import ErrorList, UserError
from data_tools.shards.manifest import MANIFEST
from launch.config import Config
from launch.terminal.console import print_out, tables
from launch.terminal.wording import counted

if TYPE_CHECKING:
    from cluster.doctor.examination import Examination

logger = logging.getLogger(__name__)

UNFIT = 1
"""Exit status where a finding is an error."""
SSH_PORT = 22
SSH_S = 3.0
LOCKED = ("tensorflow", "keras", "ray", "numpy")
MARKS = {"error": "[bold red]✗[/]", "warning": "[yellow]![/]", "note": "[cyan]i[/]"}
GOOD = "[green]✓[/]"
SHOWN = ("python", "tensorflow", "horovod", "ray", "regionstack")


def doctor(
    config: Config | None, *, cluster: bool, launcher: Path | None = None, quick: bool = False, as_json: bool = False
) -> int:
    """Examine this host, or all hosts of a cluster, and print the findings; returns 0, or UNFIT where one is an error.

    launcher: a cluster file whose hosts must all be up. quick: without loading Horovod and TensorFlow, which takes
    seconds. as_json: print findings and facts as one JSON object.

    Raises:
        UserError: `launcher` is not a cluster file with host addresses.
    """
    from cluster.doctor.examination import examine_cluster, examine_here, joined_cluster

    settings = config.cluster if config else ClusterConfig()
    examination, requirements = _examination(config, settings, load=not quick), _requirements(config, settings)
    named = launcher_hosts(read_yaml(launcher), str(launcher)) if launcher else []
    facts: ClusterFacts | None = None
    if cluster or launcher:
        try:
            with joined_cluster(settings):
                facts = examine_cluster(examination, joined=True)
        except UserError as error:
            findings = [_refusal(error), *_unreachable(named)]
    else:
        facts = examine_here(examination)
    if facts is not None:
        facts = replace(facts, absent=absent_hosts(named, facts))
        findings = judge(facts, requirements)
    if as_json:
        hosts = [asdict(node) for node in facts.nodes] if facts else []
        print_out(json.dumps({"findings": [asdict(finding) for finding in findings], "hosts": hosts}, indent=2))
    else:
        print_findings(facts, findings, tables())
    return UNFIT if errors(findings) else 0


def check_hosts(config: Config, *, joined: bool) -> None:
    """The short form of every run: the hosts of this process' Ray, without loading Horovod.

    Raises:
        ErrorList: a job would fail or hang on a host; one line for each reason.
    """
    from cluster.doctor.examination import examine_cluster

    facts = examine_cluster(_examination(config, config.cluster, load=False), joined=joined)
    findings = judge(facts, _requirements(config, config.cluster))
    for finding in findings:
        if finding.level == "warning":
            logger.warning("%s", finding.line())
    if found := errors(findings):
        lines = [finding.line() for finding in found]
        hint = "check again with regionstack doctor --cluster" if joined else "check again with regionstack doctor"
        raise ErrorList("\n".join(["the hosts are not ready:", *(f"  {line}" for line in lines), hint]))


def _examination(config: Config | None, settings: ClusterConfig, *, load: bool) -> "Examination":
    from cluster.doctor.examination import Examination

    folders: dict[str, Sequence[str]] = {}
    if config is not None:
        folders[str(config.paths.run)] = ()
        folders[str(config.paths.shards)] = _manifests(config) if _complete(config) else ()
    return Examination(config=settings, folders=folders, load=load)


def _requirements(config: Config | None, settings: ClusterConfig) -> Requirements:
    return Requirements(
        gpus=settings.gpus != 0,
        interface=settings.interface,
        locked={"horovod": HOROVOD} | {name: pinned(LOCK, name)[0] for name in LOCKED},
        run_folder=str(config.paths.run) if config else None,
        shards_folder=str(config.paths.shards) if config else None,
        shards_complete=config is not None and _complete(config),
    )


def _manifests(config: Config) -> list[str]:
    return [f"{split}/{region}/{MANIFEST}" for split in SPLITS for region in config.boxes]


def _complete(config: Config) -> bool:
    return all((config.paths.shards / name).is_file() for name in _manifests(config))


def print_findings(facts: ClusterFacts | None, findings: Sequence[Finding], console: Console) -> None:
    """Print one line per finding, and one for each check without a finding; then the conclusion."""
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
        console.print(f"[bold red]{counted(bad, 'thing')} to fix before a job can run[/]")
    elif doubtful:
        console.print(f"ready; {counted(doubtful, 'warning')}")
    else:
        console.print("[green]ready[/]")


def passed(check: str, facts: ClusterFacts) -> str | None:
    """What a check without a finding saw; null where there was nothing to check."""
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
            return f"{counted(total, 'GPU')}, each on one host" if total else "no GPU; jobs train on cores"
        case "names":
            return ", ".join(f"{node.hostname} is {node.name_address}" for node in facts.nodes)
        case "network":
            return "every host reaches the others" if facts.several_hosts else "one host; no network needed"
        case "storage":
            return f"read and written by {hosts}: {', '.join(folders)}" if folders else None
        case "disk":
            free = [f"{folder.free / 2**30:.0f} GiB free in {folder.path}" for folder in first.folders if folder.free]
            return ", ".join(free) or None
        case "clock":
            off = max(abs(node.clock_off_s) for node in facts.nodes)
            return f"within {off:.2f} s" if len(facts.nodes) > 1 else None
        case "limits":
            return f"{min(node.open_files for node in facts.nodes)} open files per process"
    return None


def launcher_hosts(mapping: dict[str, Any], where: str) -> list[str]:
    """The hosts that a cluster file of Ray's launcher lists (`provider: local`).

    Raises:
        UserError: it lists none.
    """
    provider = mapping.get("provider")
    if not isinstance(provider, dict) or not provider.get("head_ip"):
        raise UserError(f"{where}: provider.head_ip is missing; only files with provider: local list hosts")
    return [str(host) for host in [provider["head_ip"], *(provider.get("worker_ips") or [])]]


def absent_hosts(named: Sequence[str], facts: ClusterFacts) -> dict[str, str]:
    """The hosts `named` in a cluster file that Ray does not have, each with the most likely reason."""
    there = {node.address for node in facts.nodes} | {node.hostname for node in facts.nodes}
    there |= set(facts.silent)
    return {host: _reachable(host) for host in named if host not in there and _address(host) not in there}


def _unreachable(named: Sequence[str]) -> list[Finding]:
    """Where Ray does not answer: the state of each named host, from its SSH port."""
    found = {host: _reachable(host) for host in named}
    return [Finding("error", "hosts", host, why, "ray up") for host, why in found.items()]


def _address(host: str) -> str | None:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return None


def _reachable(host: str) -> str:
    if _address(host) is None:
        return "the name does not resolve here"
    try:
        socket.create_connection((host, SSH_PORT), timeout=SSH_S).close()
    except OSError as error:
        return f"nothing answers on its SSH port: {error.strerror or 'timed out'}"
    return "SSH answers there, so Ray is not up or was rejected"


def _refusal(error: UserError) -> Finding:
    """Why the cluster could not be joined, as a finding: `SETTING: ADDRESS: reason; advice`."""
    what, _, advice = str(error).partition("; ")
    return Finding("error", "hosts", socket.gethostname(), what, advice)
