"""The pages of the `demo` preset, which are drawn, not collected."""

from data_tools.errors import UserError
from launch.config import Config, load_config
from launch.terminal.console import print_out
from launch.terminal.page_progress import page_progress

DEMO = "demo"
SEED = 1
PAGES_PER_CLASS = {"train": 200, "val": 50, "test": 60}
"""What `regionstack draw` draws without options."""


def ensure_demo_pages(config: Config) -> bool:
    """Draw the demo's pages if `config` names them, unchanged, and they are missing; returns whether they were drawn.

    Raises:
        UserError: the folder cannot be written.
    """
    root = config.paths.data_root
    if root.exists() or config.data != load_config(DEMO).data:
        return False
    from data_tools.drawn import draw_data_set

    print_out(f"{config.data.root}: drawing the demo's pages")
    try:
        with page_progress("drawing") as progress:
            return draw_data_set(root, seed=SEED, pages_per_class=PAGES_PER_CLASS, progress=progress)
    except OSError as error:
        raise UserError(f"{root}: the demo's pages cannot be written ({error.strerror}); set data.root") from None
