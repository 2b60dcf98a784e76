"""Groups of files to outputs: batches, rejected files, and decoding ahead, with real decoding processes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainer.serving.classify import BATCH, Classifier, FileOutputs
from trainer.serving.decode import Cut, DecodedPage, DecodedPart, Decoders

CUT = Cut({"holistic": (0.0, 0.0, 1.0, 1.0), "top": (0.0, 0.0, 1.0, 0.5)}, (8, 8, 1))


class MeanGray:
    """Two classes, dark and light, by the mean of the whole page."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, pages: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        assert set(pages) == {"holistic", "top"}
        light = pages["holistic"].mean(axis=(1, 2, 3)).astype(np.float32) / 255
        self.batches.append(len(light))
        return {"stack": np.stack([1 - light, light], axis=1)}


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(CUT, workers=2, page_timeout_s=30) as decoders:
        yield decoders


def gray(folder: Path, level: int, *, suffix: str = "png") -> str:
    path = folder / f"{level}.{suffix}"
    Image.fromarray(np.full((40, 30), level, np.uint8)).save(path)
    return str(path)


def levels(files: list[FileOutputs]) -> list[int | None]:
    return [round(255 * float(file.outputs["stack"][0, 1])) if file.outputs else None for file in files]


def test_each_file_has_its_outputs_in_order(tmp_path: Path, decoders: Decoders) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    paths = [gray(tmp_path, level) for level in range(0, 250, 11)]
    group = (*paths[:9], str(tmp_path / "broken.tif"), *paths[9:], str(tmp_path / "absent.tif"))
    models = MeanGray()
    files = Classifier(models, decoders)(group, upcoming=(paths[0],))
    given = list(range(0, 250, 11))
    assert levels(files) == [*given[:9], None, *given[9:], None]
    assert models.batches == [len(paths)]
    assert files[9].pages[0][1], "why it was rejected"
    assert files[-1].error == "no such file"
    assert all(file.of == 1 and file.pages == [(1, None)] for file in files if file.outputs)


def test_what_was_decoded_ahead_is_used(tmp_path: Path, decoders: Decoders) -> None:
    first, second = (gray(tmp_path, 10),), (gray(tmp_path, 20), gray(tmp_path, 30))
    classifier = Classifier(MeanGray(), decoders)
    classifier(first, upcoming=second)
    futures = classifier._begin(second)
    [future.result() for future in futures]
    for path in second:
        Path(path).unlink()
    assert levels(classifier(second)) == [20, 30]


def test_a_group_is_computed_in_batches_that_its_files_alone_determine(decoders: Decoders) -> None:
    page = {name: np.full((8, 8, 1), 51, np.uint8) for name in CUT.regions}
    long = DecodedPart([DecodedPage(number, page) for number in range(1, 101)], 100)
    damaged = DecodedPart([DecodedPage(1, {}, "damaged"), DecodedPage(2, page)], 2)
    models, counted = MeanGray(), list[int]()
    files = Classifier(models, decoders, on_pages=counted.append)((long, damaged, DecodedPart([], 0, "absent")))
    assert models.batches == counted == [BATCH, 101 - BATCH]
    assert files[0].outputs["stack"].shape == (100, 2)
    assert files[1].pages == [(1, "damaged"), (2, None)]
    assert files[1].outputs["stack"].shape == (1, 2)
    assert (files[2].pages, files[2].outputs) == ([], {})


def test_a_mistake_of_a_worker_reaches_the_caller(tmp_path: Path) -> None:
    wrong = Cut({"holistic": (0.9, 0.0, 0.1, 1.0)}, (8, 8, 1))
    with Decoders(wrong, workers=1, page_timeout_s=30) as broken, pytest.raises(Exception, match="box"):
        Classifier(MeanGray(), broken)((gray(tmp_path, 10),))
