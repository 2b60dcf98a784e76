"""Looks at the hosts before a job starts: the command `regionstack doctor`, and the short form in every run."""

import json
import logging
import socket
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cluster.config import ClusterConfig
from cluster.doctor.checks import judge
from cluster.doctor.facts import ClusterFacts
from cluster.doctor.findings import Finding, Wanted, errors
from cluster.setup.horovod_target import HOROVOD, LOCK, pinned
from data_tools.config import read_yaml
from data_tools.documents.data_set import SPLITS
from data_tools.errors import UserError
from data_tools.shards.manifest import MANIFEST
from launch.config import Config
from launch.console import print_out, tables
from launch.doctor_page import print_findings

logger = logging.getLogger(__name__)

UNFIT = 1
"""Exit status where a finding is an error."""
SSH_PORT = 22
SSH_S = 3.0
LOCKED = ("tensorflow", "keras", "ray", "numpy")


def doctor(
    config: Config | None, *, cluster: bool, launcher: Path | None = None, quick: bool = False, as_json: bool = False
) -> int:
    """Examine this host, or all of a cluster, print what was found; 0, or 1 where something must be mended.

    quick: without loading Horovod and TensorFlow, which takes seconds.

    Raises:
        UserError: `launcher` is no cluster file.
    """
    from cluster.doctor.examination import examine_cluster, examine_here, joined_cluster

    settings = config.cluster if config else ClusterConfig()
    examination, wanted = _examination(config, settings, load=not quick), _wanted(config, settings)
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
        findings = judge(facts, wanted)
    if as_json:
        hosts = [asdict(node) for node in facts.nodes] if facts else []
        print_out(json.dumps({"findings": [asdict(finding) for finding in findings], "hosts": hosts}, indent=2))
    else:
        print_findings(facts, findings, tables())
    return UNFIT if errors(findings) else 0


def check_hosts(config: Config, *, joined: bool) -> None:
    """The short form: without loading Horovod, on the hosts that this process' Ray has.

    Raises:
        UserError: a job would fail or hang on one of them; one line for each reason.
    """
    from cluster.doctor.examination import examine_cluster

    facts = examine_cluster(_examination(config, config.cluster, load=False), joined=joined)
    findings = judge(facts, _wanted(config, config.cluster))
    for finding in findings:
        if finding.level == "warning":
            logger.warning("%s", finding.line())
    if found := errors(findings):
        lines = [finding.line() for finding in found]
        hint = "regionstack doctor --cluster looks again" if joined else "regionstack doctor looks again"
        raise UserError("\n".join(["the hosts are not ready:", *(f"  {line}" for line in lines), hint]))


def _examination(config: Config | None, settings: ClusterConfig, *, load: bool) -> Any:
    from cluster.doctor.examination import Examination

    folders: dict[str, Sequence[str]] = {}
    if config is not None:
        folders[str(config.paths.run)] = ()
        folders[str(config.paths.shards)] = _manifests(config) if _complete(config) else ()
    return Examination(config=settings, folders=folders, load=load)


def _wanted(config: Config | None, settings: ClusterConfig) -> Wanted:
    return Wanted(
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


def launcher_hosts(mapping: dict[str, Any], where: str) -> list[str]:
    """The hosts that a cluster file of Ray's launcher names, for hosts of one's own (`provider: local`).

    Raises:
        UserError: it names none.
    """
    provider = mapping.get("provider")
    if not isinstance(provider, dict) or not provider.get("head_ip"):
        raise UserError(f"{where}: provider.head_ip is not there; hosts are only named by files with provider: local")
    return [str(host) for host in [provider["head_ip"], *(provider.get("worker_ips") or [])]]


def absent_hosts(named: Sequence[str], facts: ClusterFacts) -> dict[str, str]:
    """Those of the hosts `named` in a cluster file that Ray does not have, with what can be said of each."""
    there = {node.address for node in facts.nodes} | {node.hostname for node in facts.nodes}
    there |= set(facts.silent)
    return {host: _reachable(host) for host in named if host not in there and _address(host) not in there}


def _unreachable(named: Sequence[str]) -> list[Finding]:
    """Where Ray itself cannot be asked: which of the named hosts do not even answer to SSH."""
    found = {host: _reachable(host) for host in named}
    return [Finding("error", "hosts", host, why, "ray up") for host, why in found.items()]


def _address(host: str) -> str | None:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return None


def _reachable(host: str) -> str:
    if _address(host) is None:
        return "the name has no address here"
    try:
        socket.create_connection((host, SSH_PORT), timeout=SSH_S).close()
    except OSError as error:
        return f"nothing answers on its SSH port: {error.strerror or 'timed out'}"
    return "SSH answers there; Ray is not up, or was refused"


def _refusal(error: UserError) -> Finding:
    """Why the cluster could not be joined, as a finding: `SETTING: ADDRESS: reason; mend`."""
    what, _, mend = str(error).partition("; ")
    return Finding("error", "hosts", socket.gethostname(), what, mend)
