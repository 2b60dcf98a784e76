"""Files that symbolic links name a second time."""

import os
from pathlib import Path

import pytest

from data_tools.labels.links import file_ids, other_names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document with links to it and through a linked folder, a hard link, and links to nothing."""
    root = tmp_path / "root"
    (root / "x").mkdir(parents=True)
    (root / "x" / "a.pdf").write_bytes(b"a")
    (root / "b.pdf").write_bytes(b"a")
    os.link(root / "x" / "a.pdf", root / "hard.pdf")
    for name, target in {
        "link.pdf": "x/a.pdf", "again.pdf": "link.pdf", "folder": "x", "gone.pdf": "nothing.pdf", "loop.pdf": "loop.pdf"
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    (tmp_path / "linked_root").symlink_to("root")
    return root


def test_the_file_of_each_document(root: Path) -> None:
    names = ["x/a.pdf", "link.pdf", "folder/a.pdf", "b.pdf", "gone.pdf", "loop.pdf", "none.pdf", "b.pdf/below.pdf"]
    found = file_ids(str(root), names)
    assert list(found) == names
    assert found["x/a.pdf"] == found["link.pdf"] == found["folder/a.pdf"] != found["b.pdf"]
    assert [name for name, file in found.items() if file is None] == names[6:]
    assert len({found[name] for name in names[:6]}) == 4


@pytest.mark.parametrize(
    ("listed", "replaced"),
    [
        (["x/a.pdf", "link.pdf", "b.pdf"], {"link.pdf": "x/a.pdf"}),
        (["link.pdf", "again.pdf", "x/a.pdf"], {"again.pdf": "x/a.pdf", "link.pdf": "x/a.pdf"}),
        (["x/a.pdf", "folder/a.pdf"], {"folder/a.pdf": "x/a.pdf"}),
        (["link.pdf", "folder/a.pdf"], {"link.pdf": "folder/a.pdf"}),  # The first one, as no path is without links.
        (["link.pdf", "b.pdf"], {}),
        (["x/a.pdf", "hard.pdf"], {}),  # Copies of a file are two files, with or without a hard link.
        (["x/a.pdf", "hard.pdf", "link.pdf"], {"link.pdf": "x/a.pdf"}),
        (["gone.pdf", "loop.pdf", "none.pdf"], {}),
    ],
)
@pytest.mark.parametrize("start", ["root", "linked_root"])
def test_links_to_listed_files(root: Path, listed: list[str], replaced: dict[str, str], start: str) -> None:
    for names in (listed, listed[::-1]):
        files = file_ids(str(root.parent / start), names)
        assert other_names(str(root.parent / start), files) == replaced
