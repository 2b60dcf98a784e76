"""Pages that resemble another class, with small distinguishing marks in one part of the page."""

from collections.abc import Callable
from itertools import pairwise

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import (
    body_type,
    label_lines,
    letterhead,
    logo,
    margins,
    page_number,
    paragraphs,
    short_lines,
    signature_line,
)
from data_tools.drawn.graphics import Table, number, table
from data_tools.drawn.page import Page, Type
from data_tools.drawn.pen import handwriting
from data_tools.drawn.words import COMPANIES, DATES, PEOPLE, SLOGANS, SUBJECTS, TITLES


def fax_cover(page: Page) -> None:
    """A form like a memo: FACSIMILE at the top, the number of pages, a notice in small type at the foot."""
    area, kind = margins(page), body_type(page)
    y = letterhead(page, area)
    page.text((page.width / 2, y), page.pick(("FACSIMILE", "FAX COVER SHEET")), kind.bold(), align="middle")
    labels = ("TO:", "FROM:", "DATE:", "FAX:", "PAGES:")
    y = label_lines(page, Area(area.left, y + 45, area.right, 600), labels, Type(kind.size, kind.face, 2))
    page.rule(area.left, area.right, y + 5)
    if page.chance(0.5):
        handwriting(page, Area(area.left + 20, y + 20, area.right - 80, y + 110), 26)
    page.paragraph(Area(area.left, 790, area.right, 880), Type(12, "bold", 1.15))


def press_release(page: Page) -> None:
    """News like a letter: one column, where and when to print it at the top, three marks at the end."""
    area, kind = margins(page), Type(page.between(13, 16), page.pick(("plain", "typewriter")), 1.6)
    page.text((area.left, area.top), "FOR IMMEDIATE RELEASE", kind.bold())
    page.text((area.right, area.top), f"Contact: {page.pick(PEOPLE)}", Type(12), align="right")
    y = area.top + 60
    page.text((page.width / 2, y), page.pick(TITLES).upper(), kind.bold(), align="middle")
    y = paragraphs(page, Area(area.left, y + 45, area.right, 860), kind, indent=40)
    page.text((page.width / 2, y + 5), "# # #", kind, align="middle")


def table_page(page: Page) -> None:
    """A report page like a budget: only a table, with its number above and the page number below."""
    area, kind = margins(page), Type(page.between(11, 13), page.pick(("plain", "typewriter")))
    page.text((page.width / 2, area.top), f"TABLE {page.integer(1, 20)}", kind, align="middle")
    page.text((page.width / 2, area.top + 22), page.pick(TITLES), kind, align="middle")
    body = Area(area.left, area.top + 60, area.right, page.between(500, 860))
    columns = (page.between(1.5, 3), *([1.0] * page.integer(3, 6)))
    table(page, body, Table(columns, page.between(18, 24), False, False, False, 0.92), kind)
    page.canvas.strokes([[(body.left, y), (body.right, y)] for y in (body.top - 6, body.top + 18, body.bottom + 6)])
    page_number(page, page.integer(2, 60), kind=kind)


def speech(page: Page) -> None:
    """A presentation's text: large double-spaced lines, the number of the page at the upper right."""
    area = margins(page)
    kind = Type(page.between(17, 22), page.pick(("plain", "bold", "typewriter")), page.between(1.7, 2.1))
    page.text((area.right, area.top - 25), f"-{page.integer(2, 20)}-", kind, align="right")
    paragraphs(page, Area(area.left, area.top + 20, area.right, area.bottom), kind, indent=50)


def text_advertisement(page: Page) -> None:
    """An advertisement like an article: a slogan over columns, the brand at the foot."""
    area = margins(page)
    kind, slogan = Type(page.between(13, 16), "plain", 1.3), Type(area.width / 12, "bold")
    page.text((area.left, area.top), page.pick(SLOGANS), slogan)
    columns = page.integer(1, 2)
    pitch = (area.width + 22) / columns
    bottom = page.between(650, 800)
    for column in range(columns):
        left = area.left + column * pitch
        paragraphs(page, Area(left, area.top + slogan.size + 30, left + pitch - 22, bottom), kind)
    logo(page, area.left, bottom + 25, 70)
    page.text((area.left + 90, bottom + 40), page.pick(COMPANIES), Type(32, "bold"))


def standard(page: Page) -> None:
    """A specification like a report: text, its number in a box at the upper right, approvals at the foot."""
    area, kind = margins(page), body_type(page)
    box = Area(area.right - 190, area.top - 15, area.right, area.top + 45)
    page.canvas.box(box)
    for row, text in enumerate((f"No. {page.integer(100, 999)}-A", page.pick(DATES))):
        page.text((box.left + 8, box.top + 8 + row * 24), text, Type(13))
    y = box.bottom + 30
    for section in range(1, page.integer(3, 6)):
        page.text((area.left, y), f"{section}.0  {page.pick(TITLES)[:16].upper()}", kind.bold())
        y = page.paragraph(Area(area.left + 40, y + 1.4 * kind.pitch, area.right, y + 140), kind) + kind.pitch
    line = max(y + 10, 880)
    signature_line(page, Area(area.left, line, area.left + area.width * 0.6, line), "APPROVED BY")


def written_form(page: Page) -> None:
    """Handwriting like a form: a printed head and a few fields, the rest handwritten."""
    area = margins(page)
    y = letterhead(page, area)
    for row in range(page.integer(1, 3)):
        edges = (area.left, area.left + area.width / 2, area.right)
        for left, right in pairwise(edges):
            page.canvas.box(Area(left, y, right, y + 38))
            page.text((left + 3, y + 2), page.pick(("NAME", "DATE", "PROJECT", "PAGE")), Type(9.5))
            if row == 0 or page.chance(0.5):
                handwriting(page, Area(left + 20, y + 12, right - 40, y + 34), 20)
        y += 38
    page.canvas.box(Area(area.left, y, area.right, 920))
    handwriting(page, Area(area.left + 15, y + 10, area.right - 15, page.between(500, 900)), page.between(20, 28))


def discussion_guide(page: Page) -> None:
    """A questionnaire like a slide or a report: headings, and open questions behind bullets."""
    area, kind = margins(page), body_type(page)
    page.text((page.width / 2, area.top), "DISCUSSION GUIDE", kind.bold(), align="middle")
    y = area.top + 45
    while y < area.bottom - 90:
        page.text((area.left, y), page.pick(TITLES)[:20], kind.bold())
        y += 1.6 * kind.pitch
        for _ in range(page.integer(1, 4)):
            page.text((area.left + 20, y), page.pick(("o", "-")), kind)
            bottom = y + page.integer(1, 2) * kind.pitch + 1
            used = page.words((area.left + 55, y), area.width * page.between(0.5, 0.8), kind)
            page.text((area.left + 57 + used, y), "?", kind)
            y = bottom + 0.4 * kind.pitch


def statement(page: Page) -> None:
    """An invoice like a letter: the sum due at the right under a rule, where to pay at the foot."""
    area, kind = margins(page), body_type(page)
    y = letterhead(page, area)
    page.text((area.left, y), page.pick(DATES), kind)
    y = short_lines(page, (area.left, y + 3 * kind.pitch), page.integer(3, 4), kind) + kind.pitch
    page.text((area.left, y), f"{page.pick(('Invoice', 'Statement'))} No. {page.integer(1000, 9999)}", kind.bold())
    y += 2 * kind.pitch
    for _ in range(page.integer(1, 4)):
        bottom = page.paragraph(Area(area.left, y, area.left + area.width * 0.68, y + 3 * kind.pitch + 1), kind)
        page.text((area.right, bottom - kind.pitch), f"${number(page)}.00", kind, align="right")
        y = bottom + kind.pitch
    page.rule(area.right - 110, area.right, y - 4)
    page.text((area.right, y), f"${number(page)}.00", kind.bold(), align="right")
    page.text((area.left, y + 4 * kind.pitch), f"Payable to {page.pick(COMPANIES)}", kind)


def cost_list(page: Page) -> None:
    """A budget like a memo: paragraphs, costs in a column at the right, a total."""
    area, kind = margins(page), body_type(page)
    page.text((page.width / 2, area.top), f"{page.pick(SUBJECTS)} budget", kind.bold(), align="middle")
    y = area.top + 45
    while y < 800:
        page.words((area.left, y), area.width * 0.22, kind)
        left, right, lines = area.left + area.width * 0.27, area.left + area.width * 0.78, page.integer(1, 3)
        box = Area(left, y, right, y + lines * kind.pitch + 1)
        y = page.paragraph(box, kind)
        page.text((area.right, y - kind.pitch), f"${number(page)}", kind, align="right")
        y += kind.pitch * 0.8
        if page.chance(0.1):
            break
    page.rule(area.right - 90, area.right, y)
    page.text((area.left, y + 6), "Total", kind.bold())
    page.text((area.right, y + 6), f"${number(page)}", kind.bold(), align="right")


def biography(page: Page) -> None:
    """A resume like a letter: running text under a name, with years only in the text."""
    area, kind = margins(page), body_type(page)
    page.text((page.width / 2, area.top), page.pick(PEOPLE), kind.larger(1.3).bold(), align="middle")
    page.text((page.width / 2, area.top + 28), page.pick(COMPANIES), kind, align="middle")
    paragraphs(page, Area(area.left, area.top + 80, area.right, page.between(450, 850)), kind)


LAYOUTS: dict[str, Callable[[Page], None]] = {
    "form": fax_cover,
    "handwritten": written_form,
    "advertisement": text_advertisement,
    "scientific report": table_page,
    "specification": standard,
    "news article": press_release,
    "budget": cost_list,
    "invoice": statement,
    "presentation": speech,
    "questionnaire": discussion_guide,
    "resume": biography,
}
