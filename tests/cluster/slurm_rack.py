"""Debian's Slurm on the hosts of a rack: munge and slurmd on each, slurmctld on the first."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from tests.cluster.rack import SHARED, SYSTEM_PATH, Rack, RackError
from tests.helpers.waiting import wait_until

FOLDER = f"{SHARED}/slurm"
CONF = {"SLURM_CONF": f"{FOLDER}/slurm.conf"}
LINES = """
ClusterName=rack
SlurmctldHost={login}
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=10
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
KillWait=20
StateSaveLocation=/run/slurmctld
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/run/slurmctld.log
SlurmdLogFile=/run/slurmd.log
NodeName={nodes} CPUs=2 State=UNKNOWN
PartitionName=all Nodes={nodes} Default=YES MaxTime=INFINITE State=UP
"""


def install_slurm() -> None:
    """Install Slurm and munge where they are missing.

    Raises:
        RackError: apt-get cannot install them.
    """
    if shutil.which("slurmctld", path=SYSTEM_PATH) and shutil.which("munged", path=SYSTEM_PATH):
        return
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        ended = subprocess.run(
            ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *command],
            capture_output=True,
            text=True,
            check=False,
            env=quiet,
        )
        if ended.returncode:
            raise RackError(f"slurm-wlm cannot be installed: {ended.stderr.strip()}")


def start_slurm(rack: Rack, login: str, nodes: Sequence[str]) -> None:
    """Start all daemons, and wait until every node is idle."""
    folder = rack.shared / "slurm"
    folder.mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "slurm.conf").write_text(LINES.format(login=login, nodes=",".join(nodes)))
    for host in (login, *nodes):
        rack.run(host, ["bash", "-ec", "mkdir -p -m 755 /run/munge /run/slurmd /run/slurmctld"])
        munge = ["munged", "--force", f"--key-file={FOLDER}/munge.key", "--socket=/run/munge/munge.socket.2"]
        files = ["--seed-file=/run/munge/seed", "--log-file=/run/munge/log", "--pid-file=/run/munge/pid"]
        rack.run(host, [*munge, *files])
    rack.run(login, ["slurmctld"], **CONF)
    for node in nodes:
        rack.run(node, ["slurmd"], **CONF)
    idle = ["bash", "-c", f"SLURM_CONF={FOLDER}/slurm.conf sinfo -h -t idle -o %D | grep -qx {len(nodes)}"]
    wait_until(lambda: rack.works(login, idle), "all nodes of Slurm to be idle", limit_s=60)
