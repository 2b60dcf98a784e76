"""PDF files written by hand: pages with text and boxes, and the odd and hostile ones."""

from collections.abc import Mapping, Sequence


def pdf(objects: Mapping[int, bytes], *, root: int = 1, trailer: bytes = b"") -> bytes:
    """A PDF of numbered objects, with a correct cross-reference table; trailer: further entries of it."""
    content = bytearray(b"%PDF-1.7\n")
    places = {}
    for number, body in objects.items():
        places[number] = len(content)
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(content)
    size = max(objects) + 1
    content += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        content += b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 00001 f \n"
    content += b"trailer\n<< /Size %d /Root %d 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, root, trailer, table)
    return bytes(content)


def stream(body: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(body), entries, body)


def drawn(pages: Sequence[bytes], *, box: bytes = b"0 0 144 216", more: bytes = b"") -> bytes:
    """A PDF with one page for each content stream; more: further entries of every page."""
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>"}
    kids = b" ".join(b"%d 0 R" % (4 + 2 * place) for place in range(len(pages)))
    objects[2] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), kids)
    objects[3] = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    for place, body in enumerate(pages):
        objects[4 + 2 * place] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> %s >>"
            % (box, 5 + 2 * place, more)
        )
        objects[5 + 2 * place] = stream(body)
    return pdf(objects)


def bars(number: int) -> bytes:
    """A content stream with `number` black bars and a word."""
    lines = [b"0 g %d 20 6 120 re f" % (10 + 12 * place) for place in range(number)]
    return b"\n".join([*lines, b"BT /F1 12 Tf 10 180 Td (page %d) Tj ET" % number])


def document(pages: int) -> bytes:
    """A PDF whose page k has k bars."""
    return drawn([bars(number) for number in range(1, pages + 1)])


def filled_form() -> bytes:
    """A page with a text field whose value is drawn by its appearance stream alone."""
    look = stream(b"0 g 0 0 80 30 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 80 30]")
    field = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (filled) /Rect [20 20 100 50] /P 3 0 R /F 4 "
        b"/DA (/Helv 12 Tf 0 g) /AP << /N 6 0 R >> >>"
    )
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 144 216] /Contents 4 0 R /Resources << >> /Annots [5 0 R] >>"
    return pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [5 0 R] >> >>",
            2: b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            3: page,
            4: stream(b""),
            5: field,
            6: look,
        }
    )


def encrypted() -> bytes:
    """A PDF that needs a password: standard security handler, keys of no known password."""
    entries = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]"
    content = document(1)
    keys = b"11" * 32
    start = content.index(b"trailer\n<< ") + len(b"trailer\n<< ")
    return content[:start] + entries % (keys, keys) + b" " + content[start:]


def no_pages() -> bytes:
    return pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Count 0 /Kids [] >>"})


def xfa_form() -> bytes:
    """A form whose pages are described in XFA alone."""
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R /NeedsRendering true /AcroForm << /XFA 5 0 R /Fields [] >> >>",
        2: b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 144 216] /Contents 4 0 R >>",
        4: stream(b""),
        5: stream(b"<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'/>"),
    }
    return pdf(objects)


def damaged_page(pages: int, number: int) -> bytes:
    """A PDF whose page `number` is not there: its entry in the page tree names no page."""
    start = b"\n%d 0 obj\n<< /Type /" % (4 + 2 * (number - 1))
    return document(pages).replace(start + b"Page /", start + b"Nope/")


def _drawing(objects: Mapping[int, bytes]) -> bytes:
    """One page that draws the form X, object 5; objects: further ones."""
    own = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 144 216] /Contents 4 0 R /Resources %s >>" % _FORM_X
    pages = b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"
    return pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: pages, 3: own, 4: stream(b"/X Do")} | dict(objects))


_FORM = b"/Type /XObject /Subtype /Form /BBox [0 0 144 216] "
_FORM_X = b"<< /XObject << /X 5 0 R >> >>"


def recursive() -> bytes:
    """A form that draws itself twice."""
    return _drawing({5: stream(b"/X Do 0 g 10 10 40 40 re f /X Do", _FORM + b"/Resources " + _FORM_X)})


def page_tree_loop() -> bytes:
    """A page tree that is its own child."""
    return pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Count 3 /Kids [2 0 R 2 0 R 2 0 R] >>"})


def many_claimed(count: int) -> bytes:
    """A PDF that claims `count` pages and has one."""
    return document(1).replace(b"/Count 1", b"/Count %d" % count)


def with_javascript() -> bytes:
    """A page, and a script that runs when the document opens."""
    content = document(1)
    action = b"/OpenAction << /S /JavaScript /JS (while\\(true\\){}) >>"
    return content.replace(b"/Type /Catalog", b"/Type /Catalog " + action)


def endless(levels: int) -> bytes:
    """A page of forms that draw the next 30 times each, `levels` deep: more than a machine finishes."""
    objects = {}
    for level in range(levels):
        last = level == levels - 1
        below = b"" if last else b"/Resources << /XObject << /X %d 0 R >> >>" % (6 + level)
        objects[5 + level] = stream(b"0 g 1 1 9 9 re f" if last else b"/X Do " * 30, _FORM + below)
    return _drawing(objects)
