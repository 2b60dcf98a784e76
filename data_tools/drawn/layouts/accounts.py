"""Invoices and budgets: pages of numbers with sums."""

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import label_lines, letterhead, margins, short_lines, stamp
from data_tools.drawn.graphics import Table, number, table
from data_tools.drawn.page import Page, Type
from data_tools.drawn.pen import handwriting
from data_tools.drawn.words import SUBJECTS


def invoice(page: Page) -> None:
    """Seller's letterhead, number and date at the right, a table of goods, the total at the lower right."""
    area, kind = margins(page), Type(page.between(12, 14.5), page.pick(("plain", "typewriter")))
    y = letterhead(page, area) if page.chance(0.85) else area.top
    if page.chance(0.75):
        x = page.pick((page.width / 2, area.right))
        page.text(
            (x, y),
            "INVOICE",
            Type(page.between(20, 32), "bold"),
            align="right" if x == area.right else "middle",
        )
        y += 40
    left = short_lines(page, (area.left, y + 8), page.integer(3, 4), kind)
    right = area.left + area.width * 0.66
    box = Area(right, y, area.right, y + 70)
    if page.chance(0.6):
        table(page, box, Table((1, 1), row=23, words_first=False), kind)
    else:
        label_lines(page, box, ("No.", "DATE", "TERMS"), kind)
    top, bottom = max(left, y + 80) + 15, page.between(620, 800)
    columns = page.pick(((1, 5, 1.5, 1.5), (4, 1, 1.5), (1.2, 1, 4, 1, 1.5), (5, 2)))
    goods = Area(area.left, top, area.right, bottom)
    _goods(page, goods, columns, kind)
    _total(page, Area(area.left + area.width * 0.6, bottom, area.right, bottom + page.between(30, 75)), kind)
    if page.chance(0.35):
        page.text((area.left, bottom + 60), "REMIT TO:", kind.bold())
        short_lines(page, (area.left, bottom + 60 + kind.pitch), 3, kind)
    if page.chance(0.3):
        stamp(
            page,
            page.between(area.left, area.right - 150),
            page.between(400, 850),
            page.pick(("PAID", "RECEIVED", "APPROVED")),
        )
    if page.chance(0.35):
        handwriting(page, Area(area.left + 60, bottom - 90, area.left + 230, bottom - 40), 24)


def _goods(page: Page, area: Area, columns: tuple[float, ...], kind: Type) -> None:
    ruled = page.chance(0.7)
    head = Area(area.left, area.top, area.right, area.top + 22)
    if ruled:
        table(page, area, Table(columns, row=area.height, filled=0), kind)
        page.canvas.box(head, fill=page.pick((None, None, 205, 225)))
    else:
        page.rule(area.left, area.right, head.bottom)
    edges = Table(columns).edges(area)
    for left in edges[:-1]:
        page.words((left + 4, head.top + 4), (edges[-1] - edges[-2]) * 0.8, kind.bold())
    rows = page.integer(2, max(2, int(area.height / 40)))
    lines = Area(area.left, head.bottom + 6, area.right, min(area.bottom, head.bottom + 8 + rows * 22))
    table(
        page,
        lines,
        Table(columns, row=22, frame=False, upright=False, level=False, words_first=columns[0] > 3),
        kind,
    )


def _total(page: Page, area: Area, kind: Type) -> None:
    rows = ("SUBTOTAL", "TAX", "TOTAL")[-page.integer(1, 3) :]
    y = area.top + 6
    for row in rows:
        page.text((area.left + 10, y), row, kind.bold() if row == "TOTAL" else kind)
        page.text((area.right - 8, y), f"${number(page)}.{page.integer(10, 99)}", kind, align="right")
        y += 22
    if page.chance(0.75):
        page.canvas.box(Area(area.left, area.top, area.right, y))


def budget(page: Page) -> None:
    """Columns of numbers in groups with sums, and a grand total under a double line."""
    area, kind = margins(page), Type(page.between(11, 14), page.pick(("plain", "typewriter")))
    y = area.top
    for line in range(page.integer(1, 3)):
        text = page.pick(("BUDGET ESTIMATE", "Proposed budget", "BUDGET SUMMARY")) if line == 0 else page.pick(SUBJECTS)
        page.text((page.width / 2, y), text, Type(17, "bold" if line == 0 else "plain"), align="middle")
        y += 22
    columns = (page.between(2, 4), *([1.0] * page.integer(1, 6)))
    edges = Table(columns).edges(area)
    y += page.between(15, 50)
    for left in edges[1:]:
        page.text(
            (left - 6, y),
            page.pick(("1986", "1987", "Total", "Actual", "Plan", "Cost")),
            kind.bold(),
            align="right",
        )
    y += 24
    if page.chance(0.5):
        page.rule(area.left, area.right, y)
    row, bottom, ruled = page.between(17, 24), page.between(500, 860), page.chance(0.25)
    while y + 3 * row < bottom:
        y = _group(page, Area(area.left, y, area.right, bottom), Table(columns, row, ruled, ruled, ruled, 0.85), kind)
    if page.chance(0.85):
        page.text((area.left + 6, y + 8), page.pick(("TOTAL", "GRAND TOTAL", "Total")), kind.bold())
        for left in edges[1:]:
            page.text((left - 6, y + 8), number(page), kind.bold(), align="right")
        page.canvas.strokes([[(edges[1], y + 5 + shift), (area.right, y + 5 + shift)] for shift in (0, 22, 26)])
    if page.chance(0.3):
        page.paragraph(Area(area.left, y + 50, area.right, y + 110), Type(11))


def _group(page: Page, area: Area, look: Table, kind: Type) -> float:
    rows = page.integer(2, 6)
    y = area.top + look.row * page.pick((0.0, 0.5))
    if page.chance(0.5):
        page.words((area.left, y), area.width * 0.25, kind.bold())
        y += look.row
    bottom = min(area.bottom, y + rows * look.row)
    if bottom - y >= look.row:
        table(page, Area(area.left + page.pick((0.0, 12.0)), y, area.right, bottom), look, kind)
    if page.chance(0.4):
        page.rule(area.left + area.width * 0.7, area.right, bottom + 2)
    return bottom + look.row * 0.6
