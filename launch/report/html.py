"""Renders the templates to self-contained HTML pages; every value is escaped."""

import datetime
import functools
from pathlib import Path
from typing import Any

from launch.terminal.wording import duration, group_text

TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, **values: Any) -> str:
    """Render `template` with `values`. Only inline SVG, marked by the filter `svg`, is not escaped."""
    return str(_environment().get_template(template).render(**values))


@functools.cache
def _environment() -> Any:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        pct=percent, digest=short_digest, duration=duration, group=group_text, svg=Markup, moment=moment
    )
    return environment


def percent(share: float | None, decimals: int = 1) -> str:
    """A share in percent; a dash for None."""
    return "–" if share is None else f"{share:.{decimals}%}"


def short_digest(digest: str | None) -> str:
    """The first 12 characters of a digest; a dash for None."""
    return "–" if not digest else digest[:12]


def moment(value: Any) -> str:
    """Unix seconds as local date and time; other values as text."""
    if isinstance(value, int | float):
        return datetime.datetime.fromtimestamp(value).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return str(value or "–")
