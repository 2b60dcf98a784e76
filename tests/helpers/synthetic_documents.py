"""Small data sets of documents: PDFs, TIFF files of several pages, and plain images."""

from pathlib import Path

from data_tools.documents.data_set import DataConfig
from tests.helpers.hand_pdf import bars, drawn
from tests.helpers.hand_tiff import gray_page, tiff
from tests.helpers.synthetic_pages import data_config, page, write_page

CLASSES = (3, 7, 20)


def made_documents(folder: Path, *, counts: dict[str, int], each: int = 4, **settings: object) -> DataConfig:
    """In turn a PDF and a TIFF of `each` pages and a PNG, each with its class; `counts`: documents by split."""
    number = 0
    for split, count in counts.items():
        lines = []
        for place in range(count):
            suffix = ("pdf", "tif", "png")[place % 3]
            path = folder / "pages" / split / f"{place}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == "pdf":
                path.write_bytes(drawn([bars(1 + (number + one) % 9) for one in range(each)]))
            elif suffix == "tif":
                path.write_bytes(tiff([gray_page(page(100 * number + one)) for one in range(each)]))
            else:
                write_page(path, page(number))
            lines.append(f"{split}/{place}.{suffix} {CLASSES[place // 3 % len(CLASSES)]}\n")
            number += 1
        (folder / f"{split}.txt").write_text("".join(lines))
    return data_config(folder, **settings)


def add_document(folder: Path, name: str, content: bytes, *, class_id: int = 3) -> None:
    """Add a document to the training labels of `folder`."""
    (folder / "pages" / name).write_bytes(content)
    with (folder / "train.txt").open("a") as file:
        file.write(f"{name} {class_id}\n")
