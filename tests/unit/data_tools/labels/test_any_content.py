"""Label sources with any content: labels or an error of one line that names the file, never a traceback."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.errors import UserError
from data_tools.labels.classes.names import known_names, read_class_names
from data_tools.labels.classes.stratified import SplitConfig, divide
from data_tools.labels.label import ALL
from data_tools.labels.sources import Sources, read_sources

WORDS = [
    "a.tif",
    "b.pdf#page=2",
    "path",
    "label",
    "split",
    "train",
    "val",
    "memo",
    "3",
    "-1",
    "2.5",
    "sep=;",
    "C:",
    "#",
]
MARKS = [" ", "  ", "\t", ",", ";", '"', "'", "\n", "\r\n", "\r", "/", "..", "./", "\\", "\0"]
LETTERS = ["\u00e9", "e\u0301", "\ufeff", "\u2028"]
PIECES = st.sampled_from(WORDS + MARKS + LETTERS)
TEXTS = st.lists(PIECES, max_size=30).map("".join)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda text, encoding: text.encode(encoding), TEXTS, st.sampled_from(["utf-8", "utf-16", "utf-16-le"])),
    TEXTS.map(lambda text: f"path,label,split\n{text}".encode()),
    TEXTS.map(lambda text: f"a.tif memo\nb.tif {text}".encode()),
)


@given(content=CONTENTS, suffix=st.sampled_from([".txt", ".csv", ".tsv"]))
@settings(max_examples=300, deadline=None)
def test_any_content(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    file = folder / f"labels{suffix}"
    file.write_bytes(content)
    try:
        listed = read_sources(Sources(root=folder, places={ALL: file}))
        divide(listed.labels, listed.groups, SplitConfig())
    except UserError as error:
        assert "\n" not in str(error)
        assert str(file) in str(error) or str(error).startswith("data.")
    else:
        for label in (label for labels in listed.labels.values() for label in labels):
            path = Path(label.page_id)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert str(path) == label.page_id or "#page=" in label.page_id


NAME_PIECES = st.sampled_from(
    ["memo", "id", "name", "0", "1", "-", "--2", "1.0", "\u0663", "\u00b2", "#", "[", '"', *MARKS, ":"]
)
NAME_LISTS = st.lists(st.lists(NAME_PIECES, max_size=5).map("".join), max_size=6).map("\n".join)


@given(content=st.one_of(st.binary(max_size=60), NAME_LISTS.map(str.encode)))
@settings(max_examples=300, deadline=None)
def test_any_class_names(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "names.txt"
    file.write_bytes(content)
    try:
        known_names(str(file))
        names = read_class_names(file, [0, 1])
    except UserError as error:
        assert "\n" not in str(error)
        assert str(file) in str(error)
    else:
        assert list(names) == [0, 1]
