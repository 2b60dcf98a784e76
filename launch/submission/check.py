"""Checks of a run on the machine that sends it, before anything is rented or sent."""

from dataclasses import replace
from pathlib import Path

from data_tools.documents.data_set import SPLITS, read_data_set
from launch.config import Config


def check_labels(config: Config, *, pages: str | None) -> bool:
    """Read the labels as the cluster will, if they and the folder of the pages are here; returns whether they are.

    pages: the local folder that is sent; None: `data.root`.

    Raises:
        UserError: they cannot be read, or contradict each other.
    """
    data = config.data
    sources = [source for source in (*(getattr(data, split) for split in SPLITS), data.labels) if source is not None]
    names = [data.class_names] if isinstance(data.class_names, str) else []
    root = data.root if pages is None else pages
    if not Path(root).is_dir() or not all(Path(path).is_file() for path in (*sources, *names)):
        return False
    read_data_set(replace(data, root=root), seed=config.seed)
    return True
