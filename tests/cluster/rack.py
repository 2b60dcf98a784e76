"""Real hosts on one machine: network, process and mount namespaces for each, joined by a bridge, reached over SSH.

All of them live in one outer process namespace, which the kernel empties when the test ends in any way.
Needs root, iproute2, openssh-server and rsync; `install_tools` installs what is missing.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers.waiting import wait_until

ROOT = Path(__file__).parents[2]
SHARED = "/srv/regionstack"
PACKAGES = {"ip": "iproute2", "sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync"}
NETWORK = "10.77.0"
VENV = Path(sys.prefix)
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RackError(RuntimeError):
    """This machine cannot run a rack, or a command on one of its hosts failed."""


def install_tools() -> None:
    """Install the programs that a rack needs and that are missing.

    Raises:
        RackError: the user is not root, or apt-get cannot install them.
    """
    if os.geteuid() != 0:
        raise RackError("tests of several hosts need root (network namespaces); run make test-cluster as root")
    missing = [package for tool, package in PACKAGES.items() if not shutil.which(tool, path=SYSTEM_PATH)]
    if missing:
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            ended = subprocess.run(
                ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *command],
                capture_output=True,
                text=True,
                check=False,
            )
            if ended.returncode:
                raise RackError(f"{', '.join(missing)} cannot be installed: {ended.stderr.strip()}")


class Rack:
    """Hosts by name; the first is the user's own machine, the others form the cluster."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, tuple(names)
        self.shared = folder / "shared"
        self._booted: dict[str, subprocess.Popen[bytes]] = {}
        self.shared.mkdir(parents=True)
        self._make_folders()
        outer = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._outer = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *outer, "bash", "-c", "mount -t tmpfs tmpfs /run && read -r"],
            stdin=subprocess.PIPE,
        )
        wait_until(self._has_begun, "the rack's first process", limit_s=60)
        self._inner = child_of(self._outer.pid)
        self._wire()
        for name in self.names:
            self.boot(name)

    def address(self, name: str) -> str:
        """The host's IPv4 address."""
        return f"{NETWORK}.{10 + self.names.index(name)}"

    def boot(self, name: str) -> None:
        """Start the host; its home is kept, all other folders are new."""
        keep = [str(VENV), sys.base_prefix]
        script = str(Path(__file__).with_name("host_init.sh"))
        spaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        command = [*spaces, "bash", script, name, str(self.folder / name), str(self.shared), *keep]
        self._booted[name] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self._enter(), "ip", "netns", "exec", name, *command],
            start_new_session=True,
        )
        wait_until(lambda: self._listens(name), f"{name}'s sshd", limit_s=60)

    def kill(self, name: str) -> None:
        """End all processes of the host at once, as a power failure does."""
        os.kill(self._pid(name), signal.SIGKILL)
        self._booted.pop(name).wait(timeout=30)

    def cut(self, name: str) -> None:
        """Take the host's link down, so no other host reaches it and it reaches none."""
        subprocess.run([*self._enter(), "ip", "link", "set", f"to-{name}", "down"], check=True)

    def reconnect(self, name: str) -> None:
        """Bring the link up again."""
        subprocess.run([*self._enter(), "ip", "link", "set", f"to-{name}", "up"], check=True)

    def on(self, name: str, command: Sequence[str], **more: str) -> list[str]:
        """The command line that runs `command` on the host, in its home, as its user; `more`: variables."""
        variables = {"HOME": "/root", "TERM": "dumb", "LANG": "C.UTF-8", "PATH": f"{VENV}/bin:{SYSTEM_PATH}"} | more
        entered = ["nsenter", "--target", str(self._pid(name)), "--all", "--wdns=/root", "env", "-i"]
        return [*entered, *(f"{key}={value}" for key, value in variables.items()), *command]

    def run(self, name: str, command: Sequence[str], *, timeout_s: float = 280, status: int = 0, **more: str) -> str:
        """Output of `command` on the host, errors included.

        Raises:
            RackError: it exited with another status.
        """
        ended = subprocess.run(
            self.on(name, command, **more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=timeout_s, check=False,
        )  # fmt: skip
        if ended.returncode != status:
            raise RackError(f"{name}: {' '.join(command)}: status {ended.returncode}\n{ended.stdout[-8000:]}")
        return ended.stdout

    def works(self, name: str, command: Sequence[str]) -> bool:
        """Whether `command` succeeds on the host."""
        return subprocess.run(self.on(name, command), capture_output=True, check=False).returncode == 0

    def close(self) -> None:
        """End every process of every host."""
        self._outer.kill()
        self._outer.wait(timeout=30)
        for booted in self._booted.values():
            booted.wait(timeout=30)

    def _has_begun(self) -> bool:
        if self._outer.poll() is not None:
            raise RackError("unshare failed: namespaces are not permitted here (a container without privileges?)")
        return command_of(child_of(self._outer.pid)) == "bash"

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self._inner), "--mount", "--net", "--pid"]

    def _pid(self, name: str) -> int:
        """The host's first process: below nsenter, which became `ip` and that unshare."""
        pid = child_of(child_of(self._booted[name].pid)) if name in self._booted else 0
        if not pid:
            # To signal process 0 would be to signal ourselves.
            raise RackError(f"{name} is not running")
        return pid

    def _listens(self, name: str) -> bool:
        try:
            ready = command_of(self._pid(name)) == "bash"
        except RackError:
            return False
        return ready and self.works(name, ["bash", "-c", "hostname | grep -qx $0 && echo >/dev/tcp/127.0.0.1/22", name])

    def _wire(self) -> None:
        lines = ["ip link add switch type bridge", "ip link set switch up"]
        for name in self.names:
            lines += [
                f"ip netns add {name}",
                f"ip link add to-{name} type veth peer name eth0 netns {name}",
                f"ip link set to-{name} master switch up",
                f"ip -n {name} address add {self.address(name)}/24 dev eth0",
                f"ip -n {name} link set eth0 up",
                f"ip -n {name} route add default via {NETWORK}.1",
            ]
        subprocess.run([*self._enter(), "bash", "-ec", "\n".join(lines)], check=True)

    def _make_folders(self) -> None:
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
        hosts = ["127.0.0.1 localhost", *(f"{self.address(name)} {name}" for name in self.names)]
        client = self.folder / self.names[0]
        for name in self.names:
            folder = self.folder / name
            (folder / "ssh").mkdir(parents=True)
            (folder / "home" / ".ssh").mkdir(mode=0o700, parents=True)
            (folder / "etc-hosts").write_text("\n".join(hosts) + "\n")
            subprocess.run([*keygen, folder / "ssh" / "host_key"], check=True)
            if folder == client:
                subprocess.run([*keygen, folder / "home" / ".ssh" / "id_ed25519"], check=True)
            public = (client / "home" / ".ssh" / "id_ed25519.pub").read_text()
            (folder / "home" / ".ssh" / "authorized_keys").write_text(public)
            (folder / "ssh" / "sshd_config").write_text(
                "HostKey /run/ssh/host_key\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
                "PermitRootLogin prohibit-password\nAuthorizedKeysFile /root/.ssh/authorized_keys\n"
            )


def child_of(pid: int) -> int:
    """The first child of a process, or 0."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def command_of(pid: int) -> str:
    """Name of a process' program, or an empty string."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def copy_project(target: Path, *, filled_in: Mapping[str, str]) -> None:
    """Copy the project as a user has it, with the marked values of cluster.yaml filled in."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("cluster", "data_tools", "launch", "trainer"):
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target / name)
    text = (ROOT / "cluster.yaml").read_text()
    for shipped, own in filled_in.items():
        if text.count(shipped) != 1:
            raise RackError(f"cluster.yaml: {shipped!r} occurs {text.count(shipped)} times, not once")
        text = text.replace(shipped, own)
    (target / "cluster.yaml").write_text(text)
