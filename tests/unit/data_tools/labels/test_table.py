"""Tables with a header: delimiters, quotes, columns, and errors with the line."""

from pathlib import Path

import pytest

from data_tools.errors import UserError
from data_tools.labels.label import Notes
from data_tools.labels.table import ColumnsConfig, is_table, parse_table

CSV = Path("t.csv")
Cells = tuple[str, str, str | None]


def cells(text: str, file: Path = CSV, **columns: str) -> list[Cells]:
    table = parse_table(text, file, ColumnsConfig(**columns) if columns else None)
    return [(row.path, row.label, row.split) for row in table.rows]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("path,label\na.tif,3\n", [("a.tif", "3", None)]),
        ("File Name;x\n", []),
        ("File Name;Document-Class\na.tif;memo\n", [("a.tif", "memo", None)]),
        ("filename;class;fold\na.tif;memo;train\n", [("a.tif", "memo", "train")]),
        ("image\ttype\na.tif\tmemo\n", [("a.tif", "memo", None)]),
        ('"path","label"\n"a, b.tif","news ""daily"" article"\n', [("a, b.tif", 'news "daily" article', None)]),
        ("sep=;\npath;label\na,b.tif;3\n", [("a,b.tif", "3", None)]),
        ('"sep=,"\npath,label\na.tif,3\n', [("a.tif", "3", None)]),
        ("sep=\t\npath\tlabel\na,b.tif\t3\n", [("a,b.tif", "3", None)]),
        ("\n  \nsep=;\npath;label\na.tif;3\n", [("a.tif", "3", None)]),
        ('"SEP=|" \n\npath|label\na.tif|3\n', [("a.tif", "3", None)]),
        ("label,note,path\n3,\"two\nlines\",a.tif\n4,,b.tif\n", [("a.tif", "3", None), ("b.tif", "4", None)]),
        (" Path , LABEL \na.tif, 3 \n", [("a.tif", "3", None)]),
        ("path,label\n\n,\na.tif,3,,\n\n", [("a.tif", "3", None)]),
        ("id,path,label,split\n1,a.tif,memo,Test\n", [("a.tif", "memo", "Test")]),
    ],
)  # fmt: skip
def test_tables(text: str, rows: list[Cells]) -> None:
    if rows:
        assert cells(text) == rows
    else:
        with pytest.raises(UserError, match=r"t.csv:1"):
            cells(text)


def test_the_suffix_gives_the_delimiter_of_a_tsv() -> None:
    assert cells("path\tlabel\na,b.tif\t3,5\n", Path("t.TSV")) == [("a,b.tif", "3,5", None)]


def test_configured_columns() -> None:
    text = "file,type,fold,path,label\na.tif,memo,train,x,y\n"
    assert cells(text, path="file", label="type", split="fold") == [("a.tif", "memo", "train")]
    assert cells("Doc;Art\na.tif;memo\n", Path("t.txt"), path="doc", label="Art") == [("a.tif", "memo", None)]


def test_lines_are_counted_where_a_record_begins() -> None:
    text = 'sep=,\npath,label\n"a\nb.tif",1\nc.tif,2\n'
    assert [row.line for row in parse_table(text, CSV, None).rows] == [3, 5]
    assert [row.line for row in parse_table(f"\n\n{text}", CSV, None).rows] == [5, 7]


def test_repeated_headers_of_joined_tables_are_counted() -> None:
    notes = Notes()
    text = "path,label,split\na.tif,memo,val\n" * 2 + " Path,LABEL ,split\nlabel,path,split\n"
    with pytest.raises(UserError, match=r"t\.csv:6: a header with its columns in another order"):
        parse_table(text, CSV, None, notes=notes)
    table = parse_table(text[: text.index("label,path")], CSV, None, notes=notes)
    assert [(row.path, row.line) for row in table.rows] == [("a.tif", 2), ("a.tif", 4)]
    assert (notes.counts["header"], notes.first["header"]) == (4, "line 3")


def test_the_column_of_groups() -> None:
    table = parse_table("path,label,customer\na.tif,1,x\nb.tif,1,\n", CSV, None, group="customer")
    assert [row.group for row in table.rows] == ["x", ""]


@pytest.mark.parametrize(
    ("text", "columns", "problem"),
    [
        ("", {}, "t.csv: .*empty"),
        ("path,label\n", {}, "t.csv: .*no rows"),
        ("path,label\na.tif\n", {}, "t.csv:2: the class is missing"),
        ("path,label\na.tif,1\n,2\n", {}, "t.csv:3: the path is missing"),
        ("path,label\na,b.tif,1\n", {}, "t.csv:2: 3 fields, but the header has 2"),
        ("a.tif,3\nb.tif,4\n", {}, "t.csv:1: .*no header"),
        ("name,label\na.tif,3\n", {}, "t.csv:1: no column for the path among name, label"),
        ("path,file,label\na.tif,b.tif,3\n", {}, "t.csv:1: .*path, file .*data.columns"),
        ("path,label,label\na.tif,3,4\n", {}, "t.csv:1: .*label"),
        ("path,label,label\na.tif,3,4\n", {}, "t.csv:1: .*label, label .*rename"),
        ("path,label,label,Class\na.tif,3,4,5\n", {}, r"t.csv:1: .*data.columns: {label: Class}"),
        ("path,label,Label\na.tif,3,4\n", {}, r"t.csv:1: .*data.columns: {label: label}"),
        ("path,label,label\na.tif,3,4\n", {"label": "label"}, "t.csv:1: data.columns.label: 2 columns 'label'; rename"),
        ("path,Label,LABEL\na.tif,3,4\n", {"label": "label"}, "data.columns.label: 2 columns .*; the columns"),
        ("path,label\npath,label\n", {}, "t.csv: .*no rows"),
        ("path,label\na.tif,3\npath,label,split\nb.tif,4,val\n", {}, "t.csv:3: a header with its columns"),
        ("path,label\na.tif,3\n", {"label": "labels"}, "t.csv:1: data.columns.label: .*did you mean 'label'"),
        ("path,label\na.tif,3\n", {"split": "fold"}, "t.csv:1: data.columns.split: no column 'fold'"),
        ('path,label\n"a.tif,3\nb.tif,4\n', {}, "t.csv:2: not a valid row"),
        ('path,label\n"a"x.tif,3\n', {}, "t.csv:2: not a valid row"),
    ],
)
def test_bad_tables(text: str, columns: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        cells(text, **columns)


def test_a_column_has_one_purpose() -> None:
    with pytest.raises(UserError, match="different column"):
        ColumnsConfig(path="a", label="a")


@pytest.mark.parametrize(
    ("text", "name", "table"),
    [
        ("a.tif 3\n", "t.txt", False),
        ("a,b.tif 3\n", "t.txt", False),
        ("a.tif\tmemo\n", "t.txt", False),
        ("path,label\n", "t.txt", True),
        ("filename\ttype\n", "t.lst", True),
        ("sep=;\nx;y\n", "t.txt", True),
        ("\nsep=\t\nx\ty\n", "t.txt", True),
        ("anything", "t.CSV", True),
        ("\na.tif 3\n", "t.csv", False),
        ("a.tif\tnews article\n", "t.tsv", False),
        ("a b.tif 3,x\n", "t.csv", True),
        ("anything", "t.tsv", True),
    ],
)
def test_what_is_a_table(text: str, name: str, table: bool) -> None:
    assert is_table(text, Path(name), None) == table
