"""Page ids: one for each way to write a path, and none outside the root."""

import unicodedata
from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.labels.page_id import canonical, document_of
from data_tools.labels.spelling import hint, spelled_as_on_disk

NFC, NFD = unicodedata.normalize("NFC", "é.tif"), unicodedata.normalize("NFD", "é.tif")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pages, two of them with names of odd characters, and a link to the folder."""
    root = tmp_path / "root"
    for name in ("a.tif", "Scans/B.TIF", "Scans/b.tif", "Scans/c.Tif", "real\\name.tif", '"quoted".tif', f"n/{NFD}"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "link").symlink_to(root)
    return root


@pytest.mark.parametrize(
    ("path", "page_id", "kinds"),
    [
        ("a.tif", "a.tif", ()),
        ("a..b/c.tif", "a..b/c.tif", ()),
        ("./a.tif", "a.tif", ("dots",)),
        ("x//a.tif", "x/a.tif", ("dots",)),
        ("x/./a.tif", "x/a.tif", ("dots",)),
        ('"x/a.tif"', "x/a.tif", ("quoted",)),
        ("'x/a b.tif'", "x/a b.tif", ("quoted",)),
        ("x\\y\\a.tif", "x/y/a.tif", ("backslashes",)),
        (".\\x\\a.tif", "x/a.tif", ("backslashes", "dots")),
        (" a.tif ", "a.tif", ("blanks",)),
        ("real\\name.tif", "real\\name.tif", ()),  # A file of exactly this name.
        ('"quoted".tif', '"quoted".tif', ()),
    ],
)
def test_one_id_for_each_page(root: Path, path: str, page_id: str, kinds: tuple[str, ...]) -> None:
    assert canonical(path, str(root), "l.txt:1") == (page_id, kinds)


@pytest.mark.parametrize("start", ["root", "link", "root/../root"])
def test_absolute_paths_inside_the_root(root: Path, start: str) -> None:
    for given in (root, root.parent / "link"):
        path = f"{root}/Scans/b.tif"
        assert canonical(path, str(given), "l.txt:1") == ("Scans/b.tif", ("absolute",))
        assert canonical(f"/{path}", str(root.parent / start), "l.txt:1")[0] == "Scans/b.tif"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/a.tif", "../a.tif", "a/../../b.tif", "a/../b.tif", "a\0.tif", "..\\a.tif", '"../a.tif"', "a/..",
        "C:\\scans\\a.tif", "c:/scans/a.tif", "\\\\server\\share\\a.tif", '"/etc/passwd"',
    ],
)  # fmt: skip
def test_paths_out_of_the_root_are_refused(root: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"^l\.txt:4: .*leaves the data root"):
        canonical(path, str(root), "l.txt:4")


@pytest.mark.parametrize("path", ["a\nb.tif", "", ".", "./", '""', "   ", "a" * 5000])
def test_paths_of_nothing(root: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"^l\.txt:4: "):
        canonical(path, str(root), "l.txt:4")


def test_the_document_of_a_page() -> None:
    assert document_of("x/a.pdf#page=12") == "x/a.pdf"
    assert document_of("x/a#page=1/b.tif") == "x/a#page=1/b.tif"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("a.tif", None),
        ("A.TIF", "a.tif"),
        ("scans/C.tif", "Scans/c.Tif"),
        ("Scans/b.tif", None),
        ("SCANS/b.tif", "Scans/b.tif"),
        ("Scans/b.Tif", None),  # Two files match.
        ("a.tiff", None),  # Another suffix is a hint and no match.
        (f"n/{NFC}", f"n/{NFD}"),
        (f"N/{NFC}#page=2", f"n/{NFD}#page=2"),
        ("missing.tif", None),
    ],
)
def test_another_spelling_of_one_file(root: Path, written: str, found: str | None) -> None:
    assert spelled_as_on_disk(str(root), [written]) == ({written: found} if found else {})


def test_missing_pages_in_two_normal_forms_are_one(root: Path) -> None:
    assert spelled_as_on_disk(str(root), [f"x/{NFC}", f"x/{NFD}"]) == {f"x/{NFD}": f"x/{NFC}"}
    assert spelled_as_on_disk(str(root), [f"x/{NFD}"]) == {}


@pytest.mark.parametrize(
    ("written", "named"),
    [("a.tiff", "a.tif"), ("scans/C.TIFF", "Scans/c.Tif"), (f"n/{NFC}", f"n/{NFD}"), ("Scans/b.Tif", "Scans/B.TIF")],
)
def test_a_missing_file_is_reported_with_its_other_spelling(root: Path, written: str, named: str) -> None:
    assert str(root / named) in hint(root / written)


def test_a_missing_file_without_another_spelling_has_no_hint(root: Path) -> None:
    assert hint(root / "x" / "nothing.tif") == ""


@pytest.mark.parametrize(("target", "shown"), [("nothing.tif", "nothing.tif"), ("x\n\x1b.tif", r"x\n\x1b.tif")])
def test_a_link_that_leads_nowhere_is_reported_with_its_target(root: Path, target: str, shown: str) -> None:
    (root / "gone.tif").symlink_to(target)
    assert hint(root / "gone.tif") == f"; it is a link to {shown}, which does not exist"
    (root / "gone").symlink_to("no folder")
    assert hint(root / "gone" / "a.tif") == ""
