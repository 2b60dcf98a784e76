"""What a private Ray needs of the machine: a folder with a short path, since Ray's sockets lie in it, and a token."""

import logging
import os
import secrets
import stat
from pathlib import Path

from cluster.on_ray.address import system_folder
from data_tools.errors import UserError

logger = logging.getLogger(__name__)

SOCKET_PATH_BYTES = 107
"""Longest path of a socket on Linux (unix(7))."""
SOCKET = "/session_2026-11-26_12-00-00_123456_1234567/sockets/plasma_store"
"""The longest that Ray appends to its folder."""
TOKEN_VARIABLES = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
OWN_PLACES = "/tmp", "/var/tmp", "/dev/shm"


def private_ray_folder() -> str:
    """The folder for a private Ray, made: that of RAY_TMPDIR, TMPDIR or /tmp, or a shorter one of this user's own.

    Logs a line if it is another one than Ray would take.

    Raises:
        UserError: no folder can be made.
    """
    wanted = system_folder().absolute() / "ray"
    problem = _problem(wanted)
    if problem is None:
        return str(wanted)
    for place in OWN_PLACES:
        folder = Path(place, f"ray-{os.getuid()}")
        # Ray opens its folder to everybody, so it is made inside one that nobody else can enter.
        if _is_own(folder) and _problem(folder / "ray") is None:
            logger.warning("%s: %s; Ray uses %s instead", wanted.parent, problem, folder)
            return str(folder / "ray")
    raise UserError(
        f"{wanted.parent}: {problem}, and neither can a folder be made in {', '.join(OWN_PLACES)}; set RAY_TMPDIR to a "
        f"folder that this user can write, with a path of at most {longest_folder()} bytes"
    )


def longest_folder() -> int:
    """Longest path, in bytes, of the folder in which Ray makes its own."""
    return SOCKET_PATH_BYTES - len(SOCKET) - len("/ray")


def provide_token() -> None:
    """Give a private Ray a token for this process where Ray cannot keep one: without a home that it can write.

    By default, Ray makes a token once and keeps it in `~/.ray/auth_token`.
    """
    if not any(name in os.environ for name in TOKEN_VARIABLES) and not _keeps_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _keeps_token() -> bool:
    """Whether this user has a token, or a place where Ray can make one."""
    try:
        kept = Path("~/.ray/auth_token").expanduser()
    except RuntimeError:
        # A user without HOME and without an entry in the system's list of users, as in some containers.
        return False
    if os.access(kept, os.R_OK):
        return True
    there = next(found for found in (kept, *kept.parents) if os.path.lexists(found))
    return there != kept and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _problem(folder: Path) -> str | None:
    """Why a folder cannot be Ray's, None if it can; makes it."""
    if len(os.fsencode(folder)) + len(SOCKET) > SOCKET_PATH_BYTES:
        return f"the path is too long for Ray's sockets (at most {longest_folder()} bytes)"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            # As Ray makes it: every user of the host has sessions of their own in it.
            folder.chmod(0o777)
    except OSError as error:
        return f"no folder can be made there ({(error.strerror or str(error)).lower()})"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written by this user"
    return None


def _is_own(folder: Path) -> bool:
    """Whether a folder in a place that everybody can write could be made, or is this user's; closes it to others."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        folder.chmod(0o700)
    except OSError:
        return False
    return True
