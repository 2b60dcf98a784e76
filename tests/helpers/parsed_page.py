"""Parses the HTML pages of a report, for tests of what they show."""

import html.parser
import re
from pathlib import Path

VOID = {"meta", "img", "br", "link", "input"}


class Page(html.parser.HTMLParser):
    """A parsed page: checks that tags are balanced, and collects ids, links, loaded addresses, images and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.images: dict[str, str] = {}
        self.texts: list[str] = []
        self.feed(path.read_text())

    @property
    def text(self) -> str:
        """The visible text."""
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that opens."""
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost open tag, which must be this one."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text outside of styles."""
        if "style" not in self.open:
            self.texts.append(data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img":
            self.images[values["alt"]] = values["src"]
        for name in ("src", "href", "xlink:href"):
            address = values.get(name, "data:")
            if address.startswith("#"):
                self.links.append(address[1:])
            elif not address.startswith("data:"):
                self.loads.append(address)


def checked(path: Path) -> Page:
    """The parsed page, after checking that it is complete, that links resolve, and that it loads and runs nothing."""
    page = Page(path)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.links) <= set(page.ids)
    assert page.loads == []
    assert "script" not in page.tags
    assert not re.search(r"url\((?!#)", path.read_text())
    return page
