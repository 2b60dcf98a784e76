"""Forms, questionnaires and specifications: pages of labels, boxes and answers."""

from itertools import pairwise

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import (
    body_type,
    label_lines,
    letterhead,
    margins,
    page_number,
    paragraphs,
    signature,
    signature_line,
)
from data_tools.drawn.graphics import Table, check_box, circled, number, table
from data_tools.drawn.page import Page, Type
from data_tools.drawn.pen import handwriting
from data_tools.drawn.words import COMPANIES, DATES, TITLES

_FIELDS = (
    "NAME",
    "ADDRESS",
    "DATE",
    "DEPARTMENT",
    "PHONE",
    "TITLE",
    "ACCOUNT NO.",
    "CITY",
    "REASON",
    "AMOUNT",
    "CODE",
)


def form(page: Page) -> None:
    """Labeled boxes or underlined fields, partly filled, and signature lines at the foot."""
    area, y = margins(page), 0.0
    y = letterhead(page, area) if page.chance(0.35) else area.top
    x = page.pick((area.left, page.width / 2))
    title = page.pick(
        ("REQUEST FORM", "APPLICATION", "AUTHORIZATION", "REPORT OF CONTACT", "TRANSMITTAL", "CHECK LIST")
    )
    page.text((x, y), title, Type(page.between(18, 26), "bold"), align="left" if x == area.left else "middle")
    y += 45
    bottom = page.between(600, 840)
    if page.chance(0.7):
        y = _boxes(page, Area(area.left, y, area.right, bottom))
    else:
        y = _underlined(page, Area(area.left, y, area.right, bottom))
    if page.chance(0.3):
        y = page.paragraph(Area(area.left, y + 10, area.right, y + 70), Type(11))
    if page.chance(0.8):
        half = area.left + area.width * 0.62
        for row in range(page.integer(1, 2)):
            line = max(y + 25, 850) + row * 40
            signature_line(page, Area(area.left, line, half - 20, line), page.pick(("SIGNATURE", "APPROVED")))
            signature_line(page, Area(half, line, area.right, line), "DATE", signed=0.2)


def _boxes(page: Page, area: Area) -> float:
    y, tiny, by_hand = area.top, Type(9.5), page.chance(0.5)
    while y + 30 < area.bottom:
        height = page.pick((30.0, 30.0, 40.0, 40.0, 90.0))
        cuts = sorted(page.between(0.2, 0.85) for _ in range(page.integer(0, 3)))
        edges = [area.left, *(area.left + area.width * cut for cut in cuts), area.right]
        for left, right in pairwise(edges):
            page.canvas.box(Area(left, y, right, y + height))
            page.text((left + 3, y + 2), page.pick(_FIELDS), tiny)
            _fill_in(page, Area(left + 8, y + 13, right - 6, y + height), by_hand)
        y += height
    return y


def _underlined(page: Page, area: Area) -> float:
    y, kind, by_hand = area.top, Type(14, page.pick(("plain", "bold"))), page.chance(0.5)
    while y + 30 < area.bottom:
        edges = page.pick(((0.0, 1.0), (0.0, 0.5, 1.0), (0.0, 0.65, 1.0)))
        for start, end in pairwise(edges):
            left, right = area.left + area.width * start, area.left + area.width * end - 15
            label = left + page.text((left, y), page.pick(_FIELDS) + ":", kind) + 6
            page.rule(label, right, y + kind.size, thickness=1.2)
            _fill_in(page, Area(label + 4, y - 2, right, y + 20), by_hand)
        y += page.pick((30.0, 30.0, 44.0))
    return y


def _fill_in(page: Page, area: Area, by_hand: bool) -> None:
    if area.width < 40 or page.chance(0.35):
        return
    if by_hand:
        handwriting(page, Area(area.left, area.top, area.left + area.width * page.between(0.5, 1), area.top + 16), 15)
    else:
        page.words((area.left, area.top + 2), area.width * page.between(0.5, 1), Type(13, "typewriter"))


def questionnaire(page: Page) -> None:
    """Numbered questions with boxes to tick, scales to ring, and where to go next at the right."""
    area, kind = margins(page), Type(page.between(12.5, 15), page.pick(("plain", "typewriter")), 1.25)
    y = area.top
    if page.chance(0.6):
        page.text(
            (page.width / 2, y),
            page.pick(("QUESTIONNAIRE", "SURVEY", "INTERVIEW GUIDE")),
            Type(22, "bold"),
            align="middle",
        )
        y += 40
        if page.chance(0.5):
            _boxes(page, Area(area.left, y, area.right, y + 60))
            y += 85
    ask, question = page.integer(0, 2), page.integer(1, 20)
    while y < area.bottom - 110:
        page.text((area.left, y), f"{question}.", kind.bold())
        y = page.paragraph(Area(area.left + 40, y, area.right, y + page.integer(2, 3) * kind.pitch + 1), kind)
        way = page.integer(0, 2) if page.chance(0.4) else ask
        y = (_options, _scale, _answer_lines)[way](page, Area(area.left + 60, y + 5, area.right, area.bottom), kind)
        y, question = y + kind.pitch * page.between(0.7, 1.4), question + 1
    if page.chance(0.4):
        page_number(page, page.integer(1, 9), kind=kind)


def _options(page: Page, area: Area, kind: Type) -> float:
    y, at_right = area.top, page.chance(0.5)
    for code in range(1, page.integer(3, 6)):
        if y > area.bottom - kind.pitch:
            break
        size = kind.size * 0.8
        x = area.left + area.width * 0.62 if at_right else area.left
        check_box(page, x, y + 2, size)
        page.words((area.left + (0 if at_right else 26), y), area.width * page.between(0.2, 0.45), kind)
        if page.chance(0.3):
            page.text((area.right, y), f"SKIP TO Q.{code + 4}", Type(11), align="right")
        y += kind.pitch * 1.2
    return y


def _scale(page: Page, area: Area, kind: Type) -> float:
    y, steps = area.top, page.pick((5, 5, 7, 10))
    for _ in range(page.integer(1, 4)):
        if y > area.bottom - kind.pitch:
            break
        page.words((area.left, y), area.width * 0.35, kind)
        ringed = page.integer(0, steps)
        for step in range(steps):
            x = area.left + area.width * (0.42 + 0.57 * step / steps)
            page.text((x, y), str(step + 1), kind, align="middle")
            if step == ringed:
                circled(page, x, y + kind.size / 2, kind.size * 0.65)
        y += kind.pitch * 1.3
    return y


def _answer_lines(page: Page, area: Area, kind: Type) -> float:
    y = area.top
    for _ in range(page.integer(1, 3)):
        page.rule(area.left, area.right, y + 22, thickness=1.1)
        if page.chance(0.4):
            handwriting(page, Area(area.left + 5, y + 2, area.right - 60, y + 20), 17)
        y += 28
    return y


def specification(page: Page) -> None:
    """Number and date at the upper right, characteristics with value and unit, approvals at the foot."""
    area, kind = margins(page), body_type(page)
    y = area.top
    if page.chance(0.7):
        label_lines(
            page,
            Area(area.left + area.width * 0.66, y, area.right, y + 60),
            ("No.", "DATE", "PAGE"),
            Type(12, kind.face),
        )
    if page.chance(0.4):
        page.text((area.left, y), page.pick(COMPANIES), Type(18, "bold"))
    y += page.between(40, 70)
    title = page.pick(("SPECIFICATION", "PRODUCT SPECIFICATION", "MATERIAL DATA SHEET", "STANDARD"))
    if page.chance(0.7):
        page.text((page.width / 2, y), title, Type(19, "bold"), align="middle")
    y += 40
    bottom, tabular = page.between(650, 840), page.chance(0.4)
    while y < bottom - 60:
        page.text((area.left, y), page.pick(TITLES).upper()[:18], kind.bold())
        y += kind.pitch * 1.3
        end = min(bottom, y + page.integer(3, 8) * kind.pitch + 1)
        y = _characteristics(page, Area(area.left, y, area.right, end), kind, tabular) + kind.pitch * 0.8
    if page.chance(0.3):
        y = paragraphs(page, Area(area.left, y, area.right, 860), kind, count=1)
    if page.chance(0.7):
        for row, caption in enumerate(("PREPARED BY", "APPROVED BY")):
            line = max(y + 15, 870) + 35 * row
            signature_line(page, Area(area.left, line, area.left + area.width * 0.55, line), caption)
            page.text((area.left + area.width * 0.6, line), page.pick(DATES), Type(12))
    elif page.chance(0.3):
        signature(page, area.left + area.width * 0.6, 880)


def _characteristics(page: Page, area: Area, kind: Type, tabular: bool) -> float:
    if tabular:
        if area.height > 22:
            table(page, area, Table((3, 1, 1, 1), row=20), Type(12, kind.face))
        return area.bottom
    y = area.top
    while y + kind.pitch <= area.bottom:
        page.words((area.left + 15, y), area.width * 0.42, kind)
        page.text((area.left + area.width * 0.62, y), number(page), kind, align="right")
        page.text((area.left + area.width * 0.66, y), page.pick(("MM", "GRAMS", "%", "MG/ROD", "MIN.")), kind)
        if page.chance(0.3):
            page.text((area.right, y), f"{page.integer(10, 99)}-{page.integer(100, 999)}-A", kind, align="right")
        y += kind.pitch
    return y
