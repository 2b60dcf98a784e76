"""Scientific reports and publications, news articles and resumes: pages of running text."""

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import body_type, margins, page_number, paragraphs, short_lines, signature_line
from data_tools.drawn.graphics import Table, chart, table
from data_tools.drawn.page import Align, Page, Type
from data_tools.drawn.pictures import photograph
from data_tools.drawn.words import COMPANIES, DATES, HEADLINES, PEOPLE, PLACES, TITLES


def scientific_report(page: Page) -> None:
    """A title page, or a page of numbered sections with a figure or table, numbered at the foot."""
    area, kind = margins(page), body_type(page)
    if page.chance(0.25):
        _title_page(page, area, kind)
        return
    y = area.top
    if page.chance(0.4):
        page.text((page.width / 2, y), page.pick(TITLES).upper(), kind.larger(1.15), align="middle")
        y += 2.5 * kind.pitch
    shown = page.chance(0.6)
    where = page.between(0.1, 0.6)
    middle = y + (area.bottom - y) * where
    y = _sections(page, Area(area.left, y, area.right, middle if shown else area.bottom - 20), kind)
    if shown:
        bottom = min(area.bottom - 60, y + page.between(150, 330))
        _exhibit(page, Area(area.left + 50, y + 15, area.right - 50, bottom), kind)
        _sections(page, Area(area.left, bottom + 45, area.right, area.bottom - 20), kind)
    if page.chance(0.7):
        page_number(page, page.integer(2, 60), kind=kind)


def _title_page(page: Page, area: Area, kind: Type) -> None:
    middle, y = page.width / 2, page.between(90, 200)
    for text in (page.pick(COMPANIES), "RESEARCH REPORT", page.pick(TITLES)):
        page.text((middle, y), text, kind.larger(page.pick((1.0, 1.3))), align="middle")
        y += page.between(35, 90)
    for caption in ("Written by:", "Approved by:")[: page.integer(1, 2)]:
        signature_line(page, Area(middle - 150, y, middle + 190, y), caption, signed=0.7)
        y += 55
    if page.chance(0.6):
        y = max(y, 600)
        page.text((middle, y), "Distribution", kind, align="middle")
        for column in (area.left + 60, middle + 60):
            short_lines(page, (column, y + 2 * kind.pitch), page.integer(3, 6), kind)
    page.text((middle, 920), page.pick(DATES), kind, align="middle")


def _sections(page: Page, area: Area, kind: Type) -> float:
    y, section = area.top, page.integer(1, 6)
    while y + 5 * kind.pitch < area.bottom:
        if page.chance(0.5):
            page.text((area.left, y), f"{section}.{page.integer(1, 5)}  {page.pick(TITLES)[:22]}", kind.bold())
            y += 1.5 * kind.pitch
        y = paragraphs(page, Area(area.left, y, area.right, area.bottom), kind, count=1, indent=30)
        section += 1
    return y


def _exhibit(page: Page, area: Area, kind: Type) -> None:
    """A chart or a table of measurements under its caption."""
    if area.height < 70:
        return
    small = Type(11.5, kind.face)
    if page.chance(0.5):
        chart(page, Area(area.left, area.top, area.right, area.bottom - 15))
        page.text((area.left, area.bottom + 10), f"Figure {page.integer(1, 9)}", kind)
        return
    page.text((page.width / 2, area.top), f"TABLE {page.integer(1, 9)}", kind, align="middle")
    inner = Area(area.left, area.top + 24, area.right, area.bottom)
    lined = page.chance(0.3)
    table(page, inner, Table((2, *([1.0] * page.integer(2, 6))), 20, lined, lined, lined, 0.9), small)
    if not lined:
        page.canvas.strokes([[(inner.left, y), (inner.right, y)] for y in (inner.top, inner.top + 20, inner.bottom)])


def scientific_publication(page: Page) -> None:
    """A journal's page: running head, dense columns, an abstract or references."""
    side = page.between(50, 80)
    area = Area(side, page.between(45, 70), page.width - side, page.between(920, 955))
    kind = Type(page.between(11, 13), "plain", page.between(1.05, 1.2))
    y = area.top
    if page.chance(0.8):
        page.text((area.left, y), str(page.integer(100, 999)), kind)
        page.text(
            (page.width / 2, y),
            page.pick(("J. Appl. Sci.", "Annals of Method", "Proc. Soc. Anal.")),
            kind,
            align="middle",
        )
        if page.chance(0.4):
            page.rule(area.left, area.right, y + 15)
        y += 28
    if page.chance(0.45):
        y = _journal_title(page, Area(area.left, y, area.right, 400), kind)
    columns = page.pick((1, 2, 2, 2, 3) if page.chance(0.8) else (1,))
    gap = 22.0
    width = (area.width - gap * (columns - 1)) / columns
    for column in range(columns):
        left = area.left + column * (width + gap)
        _column(page, Area(left, y, left + width, area.bottom), kind, last=column == columns - 1)


def _journal_title(page: Page, area: Area, kind: Type) -> float:
    middle, y = page.width / 2, area.top + 25
    for _ in range(page.integer(1, 2)):
        page.text((middle, y), page.pick(TITLES), Type(22, "bold"), align="middle")
        y += 28
    page.text(
        (middle, y),
        ", ".join(page.pick(PEOPLE) for _ in range(page.integer(1, 3))),
        kind.larger(1.1),
        align="middle",
    )
    page.text((middle, y + 18), page.pick(PLACES), Type(kind.size, "italic"), align="middle")
    y += 50
    if page.chance(0.7):
        inset = page.pick((0.0, 50.0))
        y = page.paragraph(
            Area(area.left + inset, y, area.right - inset, y + page.between(70, 130)), kind, justified=True
        )
        page.rule(area.left, area.right, y + 8)
        y += 18
    return y


def _column(page: Page, area: Area, kind: Type, *, last: bool) -> None:
    y, bottom = area.top, area.bottom
    if last and page.chance(0.35):
        bottom -= page.between(120, 350)
        _references(page, Area(area.left, bottom + 10, area.right, area.bottom), Type(kind.size * 0.9, "plain", 1.1))
    if page.chance(0.3):
        top = y + page.between(0, 0.6) * (bottom - y - 200)
        y = paragraphs(page, Area(area.left, y, area.right, top), kind, indent=12) if top - y > 60 else y
        figure = Area(area.left + 12, y + 8, area.right - 8, y + page.between(120, 190))
        (chart if page.chance(0.6) else photograph)(page, figure)
        y = figure.bottom + 30
    while y + 4 * kind.pitch < bottom:
        if page.chance(0.2):
            page.words((area.left + area.width * 0.25, y + 5), area.width * 0.5, kind.bold())
            y += 2 * kind.pitch
        end = min(bottom, y + page.integer(5, 16) * kind.pitch)
        page.words((area.left + 14, y), area.width - 14, kind)
        y = page.paragraph(Area(area.left, y + kind.pitch, area.right, end), kind, justified=True)


def _references(page: Page, area: Area, kind: Type) -> None:
    page.text((area.left + area.width / 2, area.top), "References", kind.bold(), align="middle")
    y, entry = area.top + 1.6 * kind.pitch, 1
    while y + 2 * kind.pitch < area.bottom:
        page.text((area.left, y), f"{entry}.", kind)
        y = page.paragraph(Area(area.left + 22, y, area.right, y + page.integer(2, 3) * kind.pitch + 1), kind)
        entry += 1


def news_article(page: Page) -> None:
    """A headline over narrow columns, often with a photograph; a full page or a clipping."""
    if page.chance(0.5):
        left, top = page.between(40, 220), page.between(40, 120)
        right, bottom = min(page.width - 40, left + page.between(330, 560)), top + page.between(500, 850)
        area = Area(left, top, right, bottom)
    else:
        area = Area(45, page.between(40, 80), page.width - 45, page.between(900, 960))
    if page.chance(0.3):
        page.canvas.box(area.inset(-12), outline=2)
    y = area.top
    if page.chance(0.35):
        page.text(
            (area.left, y),
            page.pick(("The Daily Courier", "MORNING HERALD", "Evening Star")),
            Type(16, "italic"),
        )
        page.text((area.right, y), page.pick(DATES), Type(11), align="right")
        page.rule(area.left, area.right, y + 20)
        y += 30
    y = _headline(page, Area(area.left, y, area.right, area.bottom))
    _news_columns(page, Area(area.left, y, area.right, area.bottom))


def _news_columns(page: Page, area: Area) -> None:
    kind, gap = Type(page.between(11, 13.5), "plain", page.between(1.05, 1.2)), 16.0
    columns = max(1, round(area.width / page.between(140, 230)))
    pitch = (area.width + gap) / columns
    # The photograph is below the headline and takes one or more columns.
    wide = page.integer(1, max(1, columns - 1)) if page.chance(0.5) else 0
    start, depth = page.integer(0, columns - wide), page.between(130, 260)
    if wide:
        left = area.left + start * pitch
        photograph(page, Area(left, area.top, left + wide * pitch - gap, area.top + depth))
        page.words((left, area.top + depth + 3), wide * pitch - gap, Type(10))
    for column in range(columns):
        under = start <= column < start + wide
        left, top = area.left + column * pitch, area.top + (depth + 24 if under else 0)
        bottom = area.bottom - (page.between(0, 150) if column == columns - 1 else 0)
        paragraphs(page, Area(left, top, left + pitch - gap, bottom), kind, indent=10)
        if column and page.chance(0.3):
            page.canvas.strokes([[(left - gap / 2, area.top), (left - gap / 2, area.bottom)]], thickness=1)


def _headline(page: Page, area: Area) -> float:
    y, words = area.top, page.pick(HEADLINES).split()
    size = area.width / page.between(8, 13)
    size = min(size, 52.0)
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > area.width / (size * 0.6) and line:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    for text in [*lines, line]:
        page.text((area.left, y), text, Type(size, "bold"))
        y += size * 1.05
    if page.chance(0.6):
        page.text((area.left, y + 6), f"By {page.pick(PEOPLE)}", Type(13, "italic"))
        y += 24
    return y + 10


def resume(page: Page) -> None:
    """A name at the top, headings, and entries with years at the left and text at the right."""
    area, kind = margins(page), body_type(page)
    x, y = page.pick((page.width / 2, area.left)), area.top
    align: Align = "left" if x == area.left else "middle"
    if page.chance(0.5):
        page.text(
            (x, y),
            page.pick(("CURRICULUM VITAE", "RESUME", "BIOGRAPHICAL SKETCH")),
            Type(17, "bold"),
            align=align,
        )
        y += 30
    page.text((x, y), page.pick(PEOPLE).upper(), Type(page.between(17, 24), "bold"), align=align)
    y += 30
    for _ in range(page.integer(0, 3)):
        page.text((x, y), page.pick(PLACES), kind, align=align)
        y += kind.pitch
    hanging, y = page.chance(0.35), y + 15
    heads = ["EDUCATION", "EXPERIENCE", "HONORS AND AWARDS", "MEMBERSHIPS", "PUBLICATIONS", "REFERENCES"]
    for head in heads[: page.integer(3, 6)]:
        if y > area.bottom - 60:
            break
        page.text((area.left, y), head if page.chance(0.8) else head.title() + ":", kind.bold())
        if page.chance(0.3):
            page.rule(area.left, area.right, y + kind.size + 2)
        y = _entries(
            page,
            Area(
                area.left + (150 if hanging else 0),
                y + (0 if hanging else 1.4 * kind.pitch),
                area.right,
                area.bottom,
            ),
            kind,
            numbered=head == "PUBLICATIONS",
        )
        y += kind.pitch * 0.8


def _entries(page: Page, area: Area, kind: Type, *, numbered: bool) -> float:
    y, way = area.top, page.integer(0, 2)
    for entry in range(1, page.integer(2, 8)):
        lines = page.integer(1, 3)
        if y + lines * kind.pitch > area.bottom:
            break
        mark = f"{entry}." if numbered else f"19{page.integer(50, 79)}-{page.integer(80, 95)}" if way else "-"
        indent = kind.size * (2.2 if numbered or not way else 6)
        page.text((area.left, y), mark, kind)
        y = page.paragraph(Area(area.left + indent, y, area.right, y + lines * kind.pitch + 1), kind)
        y += kind.pitch * page.pick((0.0, 0.4))
    return y
