"""Advertisements, file folders and presentation slides: pages with more picture than text."""

from data_tools.drawn.canvas import Area
from data_tools.drawn.elements import disk, logo, paragraphs, short_lines, stamp
from data_tools.drawn.graphics import Table, chart, table
from data_tools.drawn.page import Page, Type
from data_tools.drawn.pen import handwriting
from data_tools.drawn.pictures import photograph, shapes
from data_tools.drawn.words import COMPANIES, DATES, PEOPLE, SLOGANS, SUBJECTS, TITLES


def advertisement(page: Page) -> None:
    """A large picture, a slogan, a few lines, a brand at the foot, sometimes a coupon."""
    area = Area(40, 40, page.width - 40, 960).inset(page.pick((0.0, 20.0, 70.0)))
    if page.chance(0.4):
        page.canvas.box(area.inset(-10), outline=3)
    kind, slogan = (
        Type(page.between(12, 16)),
        Type(area.width / page.between(9, 13), page.pick(("bold", "bold", "italic"))),
    )
    way, middle = page.integer(0, 2), (area.left + area.right) / 2
    top = area.top + (slogan.size * 1.3 if way == 0 else 0)
    picture = Area(area.left, top, area.right, top + area.height * page.between(0.35, 0.65))
    if way == 2:
        half = area.left + area.width * page.between(0.4, 0.6)
        picture = Area(half, area.top, area.right, area.bottom - 120)
    (photograph if page.chance(0.75) else shapes)(page, picture)
    y = area.top if way == 0 else picture.bottom + 10
    if way == 2:
        y = area.top + 60
        for word in page.pick(SLOGANS).split():
            page.text((area.left, y), word, Type(slogan.size * 0.8, slogan.face))
            y += slogan.size
        paragraphs(page, Area(area.left, y + 20, picture.left - 15, area.bottom - 140), kind, count=page.integer(1, 3))
    else:
        page.text((middle, y), page.pick(SLOGANS), slogan, align="middle")
        y = picture.bottom + 20 if way == 0 else y + slogan.size * 1.2
        paragraphs(
            page,
            Area(area.left + 30, y, area.right - 30, min(area.bottom - 110, y + 140)),
            kind,
            count=page.integer(0, 2),
        )
    _brand(page, Area(area.left, area.bottom - 95, area.right, area.bottom))


def _brand(page: Page, area: Area) -> None:
    if page.chance(0.3):
        page.canvas.box(area, outline=2)
        page.text((area.left + 15, area.top + 12), "Mail this coupon today", Type(15, "bold"))
        page.canvas.strokes([[(area.left + 15, y), (area.right - 150, y)] for y in (area.top + 52, area.top + 78)])
        return
    x = page.between(area.left, area.right - 260)
    logo(page, x, area.top + 20, 60)
    page.text((x + 75, area.top + 30), page.pick(COMPANIES), Type(30, "bold"))


def file_folder(page: Page) -> None:
    """A blank sheet with the folder's edge and a tab, a label or a few handwritten words."""
    side = page.pick(("right", "right", "left", "top", "none"))
    if side == "none":
        _label(page, page.between(150, page.width - 250), page.between(150, 700))
    else:
        _tab(page, side)
    if page.chance(0.3):
        _label(page, page.between(100, page.width - 250), page.between(100, 800))
    if page.chance(0.2):
        stamp(
            page,
            page.between(100, page.width - 200),
            page.between(100, 850),
            page.pick(("FILE COPY", "RECEIVED", "CLOSED")),
        )


def _tab(page: Page, side: str) -> None:
    depth, length = page.between(60, 110), page.between(220, 350)
    start = page.between(80, 0.9 * (1000 if side != "top" else page.width) - length)
    outline = [
        (0.0, -400.0),
        (0.0, start),
        (depth * 0.8, start + 20),
        (depth, start + 35),
        (depth, start + length - 35),
        (depth * 0.8, start + length - 20),
        (0.0, start + length),
        (0.0, 1400.0),
    ]
    edge = 25 + depth
    if side == "right":
        points = [(page.width - edge + out, along) for out, along in outline]
    elif side == "left":
        points = [(edge - out, along) for out, along in outline]
    else:
        points = [(along, edge - out) for out, along in outline]
    page.canvas.strokes([points], thickness=page.between(1.5, 4))
    text, kind = (
        f"{page.pick(SUBJECTS)} {page.integer(60, 99)}",
        Type(page.between(15, 22), page.pick(("plain", "bold", "typewriter"))),
    )
    if not page.chance(0.85):
        return
    if side == "top":
        page.text((start + 40, edge - depth * 0.7), text, kind)
    else:
        x = page.width - edge + 15 if side == "right" else edge - depth + 15
        page.turned_text((x, start + 45), text, kind, quarter_turns=3 if side == "right" else 1)


def _label(page: Page, x: float, y: float) -> None:
    if page.chance(0.5):
        handwriting(page, Area(x, y, x + page.between(80, 220), y + page.between(30, 80)), page.between(22, 34))
    elif page.chance(0.5):
        page.canvas.box(Area(x - 12, y - 10, x + 250, y + 70))
        short_lines(page, (x, y), 3, Type(15, "typewriter"))
    else:
        page.text((x, y), page.pick(SUBJECTS), Type(page.between(14, 26), "bold"))


def presentation(page: Page) -> None:
    """A slide: a large title, bullets or a chart, and the source at the foot."""
    wide = page.width > 1000
    side = page.between(60, 140)
    area = Area(side, page.between(80, 180), page.width - side, page.between(800, 920))
    if page.chance(0.35):
        page.canvas.box(Area(25, 25, page.width - 25, 975), outline=page.pick((2.0, 5.0)))
    size = page.between(34, 52) if wide else page.between(24, 36)
    x = page.pick((page.width / 2, area.left))
    title = page.pick((*TITLES, *SUBJECTS))
    page.text(
        (x, area.top),
        title,
        Type(size, page.pick(("bold", "plain"))),
        align="left" if x == area.left else "middle",
    )
    y = area.top + size * 1.4
    if page.chance(0.35):
        page.rule(area.left, area.right, y, thickness=4)
    body = Area(area.left + 20, y + page.between(20, 60), area.right, area.bottom)
    _slide_body(page, body, Type(size * page.between(0.55, 0.75)))
    if page.chance(0.4):
        page.text((page.width - 50, 950), str(page.integer(2, 40)), Type(16), align="right")
    if page.chance(0.4):
        page.text((50, 948), f"{page.pick(COMPANIES)}   {page.pick(DATES)}", Type(13))
    elif page.chance(0.3):
        logo(page, 50, 920, 45)


def _slide_body(page: Page, area: Area, kind: Type) -> None:
    way = page.random.random()
    if way < 0.6:
        _bullets(page, area, kind)
    elif way < 0.75:
        chart(page, area.inset(30))
    elif way < 0.85:
        table(page, area, Table((2, 1, 1, 1), row=area.height / page.integer(4, 7)), kind)
    elif way < 0.95:
        half = area.left + area.width / 2
        _bullets(page, Area(area.left, area.top, half - 20, area.bottom), kind)
        chart(page, Area(half + 20, area.top, area.right, area.bottom - 40))
    else:
        middle = page.width / 2
        for row, text in enumerate((page.pick(COMPANIES), page.pick(PEOPLE), page.pick(DATES))):
            page.text((middle, area.top + 120 + row * kind.pitch * 2), text, kind, align="middle")


def _bullets(page: Page, area: Area, kind: Type) -> None:
    y, mark = area.top, page.pick(("disk", "dash", "disk"))
    for _ in range(page.integer(3, 7)):
        if y + kind.pitch > area.bottom:
            break
        if mark == "disk":
            page.canvas.polygon(disk(area.left, y + kind.size / 2, kind.size * 0.17))
        else:
            page.rule(area.left - 10, area.left + 8, y + kind.size / 2, thickness=3)
        lines = page.integer(1, 2)
        y = page.paragraph(Area(area.left + kind.size, y, area.right - 30, y + lines * kind.pitch + 1), kind)
        y += kind.pitch * page.between(0.4, 0.9)
