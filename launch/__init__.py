"""What a person starts: the command line, the recipe as a plan, the run folder, the report; and the Python API.

`from launch import load_config, convert, open_run` takes the names of `launch.api`, which is imported at first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.api import Config, Prediction, Run, convert, load_config, open_run

__all__ = ["Config", "Prediction", "Run", "convert", "load_config", "open_run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launch import api

    return getattr(api, name)
