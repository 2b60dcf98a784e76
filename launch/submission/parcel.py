"""What travels to the cluster with a run, and what the cluster has to have. Plans only; sends nothing."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from data_tools.errors import UserError
from launch.config import Config, load_config, resolved
from launch.recipe.demo import DEMO
from launch.recipe.drawn_weights import DRAWN
from launch.recipe.prepare import IMAGENET, NO_WEIGHTS

SENT = "submitted"
"""Folder in the shared one for configurations, and for files whose local path means nothing there."""
FILES = (
    ("data", "train"),
    ("data", "val"),
    ("data", "test"),
    ("data", "class_names"),
    ("data", "labels"),
    ("data", "corrections"),
    ("stack", "duplicates_file"),
    ("stack", "exclude_ids_file"),
    ("model", "weights"),
    ("drawn", "start"),
)
"""Settings that may name a file."""


@dataclass(frozen=True)
class Parcel:
    """One run on its way; all paths of the cluster are relative to its shared folder, or absolute.

    name: a word for the run. run: its folder. settings: the configuration as the cluster reads it, in the file
    `config`. files: local files by their path there. pages: the local folder or the URL, and the folder there.
    expected: paths that must be there already. shards: if these exist, pages and labels may be missing.
    """

    name: str
    run: str
    shards: str
    settings: Mapping[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)
    pages: tuple[str, str] | None = None
    expected: tuple[str, ...] = ()

    @property
    def config(self) -> str:
        """Path of the configuration there."""
        return f"{SENT}/{self.name}.yaml"

    @property
    def entrypoint(self) -> str:
        """The command of the Ray job."""
        train = f"exec python -m launch.train_all --config {shlex.quote(self.config)}"
        if self.pages is None or not is_url(self.pages[0]):
            return train
        return f"python -m cluster.remote.pull {shlex.join(self.pages)} && {train}"


def is_url(pages: str) -> bool:
    """Whether `--pages` names a bucket, not a local folder."""
    return "://" in pages


def plan_parcel(config: Config, *, pages: str | None = None) -> Parcel:
    """What to send so that `config`, written for this machine or for the cluster, works there.

    A file that exists here is sent: to the same relative path, or into `submitted/NAME` if its path is absolute. One
    that does not exist here is expected there. pages: a local folder, or a URL that the head can read.

    Raises:
        UserError: `pages` is no folder.
    """
    settings = resolved(config)
    name = _word(config.run.folder)
    files: dict[str, Path] = {}
    expected = []
    root = config.data.root
    if pages is not None:
        if not is_url(pages) and not Path(pages).is_dir():
            raise UserError(f"--pages {pages}: no such folder")
        settings["data"]["root"] = _pages_there(root, pages)
    for section, key in FILES:
        value = settings[section].get(key)
        if not isinstance(value, str) or value in (IMAGENET, NO_WEIGHTS, DRAWN):
            continue
        if Path(value).is_file():
            there = value if _travels(value) else f"{SENT}/{name}/{key}-{Path(value).name}"
            files[there] = Path(value)
            settings[section][key] = there
        elif not _inside(value, root):
            expected.append(value)
        else:  # a folder of pages, or a file that the cluster alone has
            settings[section][key] = str(
                PurePosixPath(settings["data"]["root"], PurePosixPath(value).relative_to(root))
            )
    if config.data == load_config(DEMO).data:
        expected = []  # drawn there
    elif pages is None:
        expected.append(root)
    return Parcel(
        name=name,
        run=config.run.folder,
        shards=config.shards.folder,
        settings=settings,
        files=files,
        pages=None if pages is None else (pages, settings["data"]["root"]),
        expected=tuple(expected),
    )


def _travels(path: str) -> bool:
    """Whether a path means the same below the shared folder as here."""
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _inside(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _pages_there(root: str, pages: str) -> str:
    """The folder of the pages on the cluster: `data.root`, unless it is a path of this machine."""
    if _travels(root) or (Path(root).is_absolute() and not Path(root).exists()):
        return root
    return f"pages/{_word(pages)}"


def _word(path: str) -> str:
    """The last parts of a path or URL as one word for names of files and jobs."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", ".", "..")]
    return re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(parts[-2:])).strip("-") or "run"
