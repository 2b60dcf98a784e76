"""Blocks that several page classes share: letterheads, labeled lines, signatures, stamps, footers."""

import math
from collections.abc import Sequence

from data_tools.drawn.canvas import Area, Face
from data_tools.drawn.page import Page, Type
from data_tools.drawn.pen import scribble
from data_tools.drawn.words import COMPANIES, DATES, PEOPLE, PLACES, SUBJECTS


def body_type(page: Page) -> Type:
    """The type of running text: typewritten or printed, 12 to 16 thousandths of the page high."""
    face: Face = page.pick(("plain", "plain", "typewriter", "typewriter", "italic"))
    if face == "italic" and page.chance(0.7):
        face = "plain"
    return Type(page.between(12.5, 16), face, page.between(1.15, 1.5))


def margins(page: Page) -> Area:
    """The area inside the page's margins."""
    side = page.between(60, 110)
    return Area(side, page.between(50, 100), page.width - side - page.between(0, 30), page.between(890, 950))


def letterhead(page: Page, area: Area) -> float:
    """Logo, company and address in one of four arrangements; returns the lower edge."""
    name, kind = page.pick(COMPANIES), Type(page.between(20, 34), page.pick(("bold", "plain", "italic")))
    y, small, way = area.top - 20, Type(10), page.integer(0, 3)
    if way == 0:
        page.text((page.width / 2, y), name, kind, align="middle")
        page.text((page.width / 2, y + kind.size * 1.1), page.pick(PLACES), small, align="middle")
    elif way == 1:
        logo(page, area.left, y - 8, 46)
        page.text((area.left + 60, y), name, kind)
        page.text((area.left + 60, y + kind.size * 1.1), page.pick(PLACES), small)
    elif way == 2:
        page.text((area.left, y), name, kind)
        for row in range(page.integer(2, 4)):
            page.words((area.right - 150, y + 12 * row), 140, small)
    else:
        logo(page, page.width / 2 - 25, y - 25, 50)
        page.text((page.width / 2, y + 32), name, Type(kind.size * 0.7, kind.face), align="middle")
        return y + 70
    if page.chance(0.3):
        page.rule(area.left, area.right, y + kind.size * 1.1 + 14)
    return y + kind.size + 40


def logo(page: Page, x: float, y: float, size: float) -> None:
    """A black mark: disk, diamond, bars or ring."""
    canvas, way = page.canvas, page.integer(0, 3)
    middle = size / 2
    if way == 0:
        canvas.polygon(disk(x + middle, y + middle, middle))
        canvas.polygon(disk(x + middle, y + middle, middle * page.between(0.3, 0.7)), gray=255)
    elif way == 1:
        canvas.polygon([(x + middle, y), (x + size, y + middle), (x + middle, y + size), (x, y + middle)])
    elif way == 2:
        for row in range(4):
            canvas.box(
                Area(x + row * 3, y + row * size / 4, x + size - row * 6, y + (row + 0.6) * size / 4),
                outline=0,
                fill=0,
            )
    else:
        canvas.box(Area(x, y, x + size, y + size), outline=0, fill=page.pick((0, 90)))
        canvas.polygon(disk(x + middle, y + middle, middle * 0.7), gray=255)


def disk(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """Corners of a polygon that looks like a disk."""
    return [(x + radius * c, y + radius * s) for c, s in _CIRCLE]


_CIRCLE = tuple((math.cos(step * math.tau / 18), math.sin(step * math.tau / 18)) for step in range(18))


def label_lines(page: Page, area: Area, labels: Sequence[str], kind: Type) -> float:
    """`TO:  words` lines, labels in one column and values in the next; returns the lower edge."""
    column = area.left + max(len(label) for label in labels) * kind.size * 0.62 + page.between(8, 40)
    bold = kind.bold() if page.chance(0.5) else kind
    y = area.top
    for label in labels:
        page.text((area.left, y), label, bold)
        page.text((column, y), page.pick(_VALUES.get(label.rstrip(":").split()[-1].upper(), PEOPLE)), kind)
        y += kind.pitch * page.pick((1.0, 1.0, 1.5))
    return y


_VALUES = {
    "DATE": DATES,
    "SENT": DATES,
    "SUBJECT": SUBJECTS,
    "ATTACHMENTS": ("1", "2", "TABLE.XLS"),
    "NO.": ("10482", "7-311", "A 2094"),
    "TERMS": ("Net 30 days", "Net 10"),
    "FAX": ("555-0142", "555-0190"),
    "PAGE": ("1 of 3", "2", "1"),
    "PAGES": ("2", "4", "11"),
}
"""Values for labels; other labels get a person's name."""


def short_lines(page: Page, at: tuple[float, float], count: int, kind: Type) -> float:
    """An address or a list of names; returns the lower edge."""
    x, y = at
    for row in range(count):
        text = page.pick(PEOPLE if row == 0 else (*COMPANIES, *PLACES))
        page.text((x, y), text, kind)
        y += kind.pitch
    return y


def paragraphs(page: Page, area: Area, kind: Type, *, count: int = 99, indent: float = 0.0) -> float:
    """Up to `count` paragraphs of 2 to 8 lines in `area`; returns the lower edge."""
    y, justified = area.top, page.chance(0.25)
    for _ in range(count):
        lines = page.integer(2, 8)
        bottom = min(area.bottom, y + lines * kind.pitch + 1)
        if bottom - y < 2 * kind.pitch:
            break
        page.words((area.left + indent, y), area.width - indent, kind)
        y = page.paragraph(Area(area.left, y + kind.pitch, area.right, bottom), kind, justified=justified)
        y += kind.pitch * page.pick((0.3, 1.0))
    return y


def signature(page: Page, x: float, y: float, *, size: float = 26.0) -> None:
    """A handwritten name, about seven text sizes wide."""
    for part in range(page.integer(1, 2)):
        left = x + part * size * 3.4
        scribble(page, Area(left, y, left + size * page.between(2.2, 3.4), y + size), slant=page.between(-0.1, 0.5))


def signature_line(page: Page, area: Area, caption: str, *, signed: float = 0.6) -> None:
    """A caption, a signature line and, with probability `signed`, a signature."""
    width = page.text((area.left, area.top), caption, Type(12))
    page.rule(area.left + width + 6, area.right, area.top + 12, thickness=1.3)
    if page.chance(signed):
        signature(page, area.left + width + 12, area.top - 14, size=22)


def bates_number(page: Page) -> None:
    """The archive number, vertical at the right edge or horizontal in a corner."""
    number, kind = str(page.integer(10**9, 2 * 10**9)), Type(page.between(14, 20), page.pick(("bold", "plain")))
    if page.chance(0.6):
        page.turned_text((page.width - page.between(25, 45), page.between(700, 830)), number, kind)
    else:
        page.text((page.width - 40, page.between(945, 965)), number, kind, align="right")


def stamp(page: Page, x: float, y: float, text: str) -> None:
    """A framed word with the skew of the page."""
    kind = Type(page.between(18, 28), "bold")
    width = page.text((x, y), text, kind)
    if page.chance(0.7):
        page.canvas.box(Area(x - 8, y - 5, x + width + 8, y + kind.size + 3), outline=3)


def page_number(page: Page, number: int, *, kind: Type) -> None:
    """A page number at the center of the foot, plain or between dashes."""
    text = page.pick((f"- {number} -", f"{number}", f"Page {number}"))
    page.text((page.width / 2, page.between(935, 960)), text, kind, align="middle")


def punch_holes(page: Page) -> None:
    """Two or three black holes in the left margin."""
    x = page.between(14, 30)
    for y in page.pick(((90, 500, 910), (270, 730))):
        page.canvas.polygon(disk(x, y + page.between(-10, 10), 9))


def fax_line(page: Page) -> None:
    """The sender line that a fax machine prints at the upper edge."""
    when, sender = f"{page.pick(DATES)}  {page.integer(8, 17)}:{page.integer(10, 59)}", page.pick(COMPANIES)
    text = f"{when}   {sender}   P.{page.integer(1, 9)}"
    page.text((page.between(30, 120), page.between(8, 22)), text, Type(11, "typewriter"))
