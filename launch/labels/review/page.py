"""The review page: one HTML file with its style, script and data; or the same without data, for the service."""

import json
from pathlib import Path
from typing import Any

from launch.service.security import page_policy

PAGE = Path(__file__).parent / "page"


def review_page(data: dict[str, Any] | None) -> str:
    """The page as HTML. data: what it shows (`launch.labels.review.content`); None: it asks the service that serves it.

    The page loads nothing from elsewhere, and its Content-Security-Policy lets it load nothing.
    """
    parts = {name: (PAGE / f"review.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    html = parts["html"].replace("@STYLE@", parts["css"]).replace("@SCRIPT@", parts["js"])
    # A `meta` element cannot hold frame-ancestors; the service sends the complete policy as a header.
    policy = page_policy(html).replace("; frame-ancestors 'none'", "")
    if data is not None:
        policy = policy.replace("connect-src 'self'", "connect-src 'none'")
    return html.replace("@POLICY@", policy).replace("@DATA@", _json(data or {}))


def _json(value: Any) -> str:
    """JSON that cannot end the element it is in, whatever names it holds."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
