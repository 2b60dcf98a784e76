"""Letters, memos, email and handwritten pages: similar in the body, different in head and foot."""

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import (
    body_type,
    fax_line,
    label_lines,
    letterhead,
    margins,
    page_number,
    paragraphs,
    short_lines,
    signature,
)
from data_tools.drawn.page import Page, Type
from data_tools.drawn.pen import handwriting
from data_tools.drawn.words import DATES, PEOPLE, SUBJECTS


def letter(page: Page) -> None:
    """Letterhead, date, address, salutation, body, closing and signature; or a letter's second page."""
    area, kind = margins(page), body_type(page)
    if page.chance(0.15):
        y = _second_page_head(page, area, kind)
    else:
        y = letterhead(page, area) + page.between(0, 30) if page.chance(0.75) else area.top + 20
        x = area.left if page.chance(0.5) else area.left + area.width * page.between(0.5, 0.75)
        page.text((x, y), page.pick(DATES), kind)
        y = short_lines(page, (area.left, y + kind.pitch * page.between(2, 3)), page.integer(2, 5), kind)
        if page.chance(0.25):
            page.text((area.left + page.between(0, 120), y + kind.pitch), f"Re: {page.pick(SUBJECTS)}", kind)
            y += kind.pitch * 1.5
        page.text((area.left, y + kind.pitch), f"Dear {page.pick(PEOPLE)}:", kind)
        y += kind.pitch * 2.5
    y = _body(page, Area(area.left, y, area.right, 760), kind)
    if page.chance(0.85):
        _closing(page, area, y + kind.pitch, kind)
    if page.chance(0.25):
        page.text((page.width / 2, 950), "Telephone 555-0142   Telex 81 442", Type(10), align="middle")


def _second_page_head(page: Page, area: Area, kind: Type) -> float:
    lines = (page.pick(PEOPLE), page.pick(DATES), f"Page {page.integer(2, 4)}")
    if page.chance(0.6):
        for row, line in enumerate(lines):
            page.text((area.left, area.top + row * kind.pitch), line, kind)
        return area.top + 4.5 * kind.pitch
    for share, line in zip((0.0, 0.45, 0.8), lines, strict=True):
        page.text((area.left + area.width * share, area.top), line, kind)
    return area.top + 2.5 * kind.pitch


def _body(page: Page, area: Area, kind: Type) -> float:
    """One to five paragraphs: the part that letters, memos and mail have in common."""
    return paragraphs(page, area, kind, count=page.integer(1, 5), indent=page.pick((0.0, 0.0, 35.0)))


def _closing(page: Page, area: Area, y: float, kind: Type) -> None:
    x = area.left if page.chance(0.5) else area.left + area.width * page.between(0.45, 0.6)
    page.text((x, y), page.pick(("Sincerely,", "Yours truly,", "Best regards,")), kind)
    if page.chance(0.85):
        signature(page, x + page.between(0, 20), y + kind.pitch * 0.9, size=page.between(22, 34))
    page.text((x, y + kind.pitch * 3.2), page.pick(PEOPLE), kind)
    if page.chance(0.3):
        page.text((area.left, y + kind.pitch * 5), page.pick(("Enclosure", "cc: file", "RW:jm")), kind)


def memo(page: Page) -> None:
    """The word memorandum, TO, FROM, DATE and SUBJECT, body, and a list of copies."""
    area, kind = margins(page), body_type(page)
    y = letterhead(page, area) if page.chance(0.6) else area.top
    if page.chance(0.65):
        title = page.pick(("MEMORANDUM", "INTEROFFICE MEMORANDUM", "M E M O", "Memorandum"))
        x = page.pick((area.left, page.width / 2))
        page.text((x, y), title, Type(page.between(15, 28), "bold"), align="left" if x == area.left else "middle")
        y += 45
    y = _memo_head(page, Area(area.left, y, area.right, 500), kind)
    if page.chance(0.5):
        page.rule(area.left, area.right, y + 4)
    y = _body(page, Area(area.left, y + kind.pitch * 1.5, area.right, 800), kind)
    if page.chance(0.3):
        signature(page, area.left + area.width * page.between(0.5, 0.7), y + 6, size=page.between(20, 28))
    if page.chance(0.55):
        y = max(y + 50, page.between(650, 800))
        page.text((area.left, y), "cc:", kind)
        for row in range(page.integer(2, 6)):
            page.text((area.left + 45, y + row * kind.pitch), page.pick(PEOPLE), kind)


def _memo_head(page: Page, area: Area, kind: Type) -> float:
    if page.chance(0.3):
        middle = area.left + area.width * page.between(0.5, 0.62)
        label_lines(page, Area(middle, area.top, area.right, area.bottom), ("DATE:", "FROM:"), kind)
        return label_lines(page, area, ("TO:", "SUBJECT:"), kind) + kind.pitch
    labels = page.pick(
        (
            ("TO:", "FROM:", "DATE:", "SUBJECT:"),
            ("DATE:", "TO:", "FROM:", "SUBJECT:"),
            ("To:", "From:", "Subject:"),
        )
    )
    return label_lines(page, area, labels, Type(kind.size, kind.face, kind.leading * page.pick((1.0, 1.4))))


def email(page: Page) -> None:
    """Small bold labels over a short ragged body, often with an older message below."""
    area = margins(page)
    kind = Type(page.between(11.5, 14.5), page.pick(("plain", "plain", "typewriter")), page.between(1.15, 1.35))
    y = area.top
    if page.chance(0.3):
        page.text((area.left, y), page.pick(PEOPLE), Type(kind.size * 1.3, "bold"))
        page.rule(area.left, area.right, y + kind.size * 1.5, thickness=3)
        y += kind.size * 2.4
    y = _message(page, Area(area.left, y, area.right, page.between(350, 650)), kind)
    if page.chance(0.45):
        if page.chance(0.6):
            page.text((area.left, y + 10), "-----Original Message-----", kind)
        inner = area.left + page.pick((0.0, 30.0))
        y = _message(page, Area(inner, y + 10 + kind.pitch, area.right, page.between(600, 850)), kind)
    if page.chance(0.35):
        page.text((area.left, 955), f"{page.integer(1, 9)}/{page.integer(10, 30)}", Type(10))
    if page.chance(0.4):
        page.text((page.between(20, 60), 962), f"RJR{page.integer(10**9, 2 * 10**9)}".replace("RJR", "DOC"), Type(13))


def _message(page: Page, area: Area, kind: Type) -> float:
    labels = page.pick(
        (
            ("From:", "Sent:", "To:", "Subject:"),
            ("From:", "To:", "Cc:", "Sent:", "Subject:"),
            ("To:", "From:", "Date:", "Subject:"),
            ("From:", "To:", "CC:", "Primary Date:", "Sent Date:", "Subject:", "Attachments:"),
        )
    )
    y = label_lines(page, area, labels, kind)
    if page.chance(0.4):
        page.rule(area.left, area.right, y + 4)
    y = paragraphs(page, Area(area.left, y + kind.pitch, area.right, area.bottom), kind, count=page.integer(1, 3))
    if page.chance(0.6):
        page.text((area.left, y), page.pick(PEOPLE).split()[-1], kind)
    return y + 2 * kind.pitch


def handwritten(page: Page) -> None:
    """Handwritten lines on blank, ruled or headed paper, or a short note."""
    area, size = margins(page), page.between(20, 36)
    y = area.top
    if page.chance(0.25):
        y = letterhead(page, area)
    elif page.chance(0.2):
        y = label_lines(page, area, ("TO:", "FROM:", "DATE:"), Type(14)) + 10
    if page.chance(0.35):
        for line in range(int(y), 950, 32):
            page.rule(20, page.width - 20, line, thickness=0.8)
    bottom = page.between(250, 500) if page.chance(0.25) else page.between(650, 940)
    inner = Area(area.left + page.pick((0.0, 0.0, 120.0)), y + 10, area.right, bottom)
    y = handwriting(page, inner, size, thickness=page.between(1.8, 3.2))
    if page.chance(0.4):
        signature(page, area.left + area.width * 0.55, y + 6, size=size * 1.2)
    if page.chance(0.15):
        fax_line(page)
    if page.chance(0.2):
        page_number(page, page.integer(1, 9), kind=Type(14))
