"""Pages from a place that fsspec opens, here a folder of this machine."""

from pathlib import Path

import pytest

from cluster.remote.pull import main, pull
from data_tools.errors import UserError


def test_what_is_missing_or_has_another_size_is_copied(tmp_path: Path) -> None:
    bucket, pages = tmp_path / "bucket", tmp_path / "pages"
    for name, text in (("a/1.tif", "one"), ("a/b/2.tif", "two"), ("3.tif", "three")):
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).write_text(text)
    assert pull(f"file://{bucket}", pages) == 3
    assert pull(f"file://{bucket}", pages) == 0
    (pages / "3.tif").write_text("th")
    assert pull(f"file://{bucket}", pages) == 1
    assert {str(path.relative_to(pages)): path.read_text() for path in pages.rglob("*") if path.is_file()} == {
        "a/1.tif": "one", "a/b/2.tif": "two", "3.tif": "three"
    }  # fmt: skip


@pytest.mark.parametrize("url", ["file:///no/such/folder", "nosuchprotocol://bucket/scans"])
def test_a_place_that_cannot_be_read_is_named(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=f"--pages {url}"):
        pull(url, tmp_path)
    assert main(url, str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: ")
