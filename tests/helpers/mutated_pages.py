"""Pages with flipped, cut, repeated, moved and overwritten bytes, in every supported format."""

import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_tools.documents.data_set import DataConfig
from tests.helpers.hand_pdf import document, filled_form
from tests.helpers.hand_tiff import BITS, PHOTOMETRIC, SAMPLES, TiffPage, packed, tiff

CLASSES = 3


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _transparent(image: Image.Image) -> Image.Image:
    """Dark pixels as ink on transparent paper."""
    return Image.merge("LA", (image, image.point(lambda level: 255 - level)))


def _four_bits(image: NDArray[np.uint8]) -> TiffPage:
    data = [packed(image >> 4, 4)]
    return TiffPage(image.shape[1], image.shape[0], data, {BITS: 4, PHOTOMETRIC: 1, SAMPLES: 1})


FORMATS: dict[str, Callable[[Image.Image], bytes]] = {
    "packbits.tif": lambda image: _saved(image, "TIFF", compression="packbits"),
    "lzw.tif": lambda image: _saved(image, "TIFF", compression="tiff_lzw"),
    "deflate.tif": lambda image: _saved(image, "TIFF", compression="tiff_adobe_deflate"),
    "plain.tif": lambda image: _saved(image, "TIFF"),
    "jpeg.tif": lambda image: _saved(image, "TIFF", compression="jpeg"),
    "g4.tif": lambda image: _saved(image.convert("1"), "TIFF", compression="group4"),
    "g3.tif": lambda image: _saved(image.convert("1"), "TIFF", compression="group3"),
    "rgb.tif": lambda image: _saved(image.convert("RGB"), "TIFF", compression="tiff_lzw"),
    "pages.tif": lambda image: _saved(image, "TIFF", save_all=True, append_images=[image]),
    "gray.png": lambda image: _saved(image, "PNG"),
    "palette.png": lambda image: _saved(image.convert("P"), "PNG"),
    "alpha.png": lambda image: _saved(image.convert("RGBA"), "PNG"),
    "gray.jpg": lambda image: _saved(image, "JPEG"),
    "progressive.jpg": lambda image: _saved(image.convert("RGB"), "JPEG", progressive=True),
    "gray.bmp": lambda image: _saved(image, "BMP"),
    "gray-alpha.png": lambda image: _saved(_transparent(image), "PNG"),
    "tRNS.png": lambda image: _saved(image.convert("P"), "PNG", transparency=0),
    "alpha.tif": lambda image: _saved(_transparent(image).convert("RGBA"), "TIFF", compression="tiff_lzw"),
    "gray-alpha.tif": lambda image: _saved(_transparent(image), "TIFF", compression="tiff_adobe_deflate"),
    "alpha.webp": lambda image: _saved(_transparent(image).convert("RGBA"), "WEBP", lossless=True, method=0),
    "lzma.tif": lambda image: _saved(image, "TIFF", compression="lzma"),
    "four-bit.tif": lambda image: tiff([_four_bits(np.asarray(image))]),
    "scan.pdf": lambda image: _saved(image, "PDF"),
    "fax.pdf": lambda image: _saved(image.convert("1"), "PDF"),
    "pages.pdf": lambda image: _saved(image, "PDF", save_all=True, append_images=[image]),
    "drawn.pdf": lambda image: document(2),
    "form.pdf": lambda image: filled_form(),
    "lossy.webp": lambda image: _saved(image.convert("RGB"), "WEBP"),
    "lossless.webp": lambda image: _saved(image.convert("RGB"), "WEBP", lossless=True, method=0),
}


def mutated(content: bytes, dice: random.Random) -> bytes:
    """`content` with one to three faults, most of them near its ends, which hold headers and directories."""
    raw = bytearray(content)
    for _ in range(dice.randint(1, 3)):
        size = len(raw)
        if size < 2:
            break
        place = dice.choice(
            [dice.randrange(size), dice.randrange(min(size, 256)), size - 1 - dice.randrange(min(size, 256))]
        )
        length = dice.choice([1, 2, 4, 16, 256, size // 4])
        match dice.randrange(7):
            case 0:
                raw[place] ^= 1 << dice.randrange(8)
            case 1:
                raw[place : place + 4] = dice.choice(
                    [bytes(4), b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", dice.randbytes(4)]
                )
            case 2:
                del raw[place:]
            case 3:
                del raw[place : place + length]
            case 4:
                raw[place:place] = raw[place : place + length]
            case 5:
                raw[place : place + length] = dice.randbytes(len(raw[place : place + length]))
            case 6:
                raw[place : place + length] = bytes(len(raw[place : place + length]))
    return bytes(raw)


def write_mutated(
    folder: Path, images: Sequence[NDArray[np.uint8]], *, count: int, seed: int, intact: int = 30
) -> DataConfig:
    """A data set of `count` mutated pages for training and `intact` unchanged ones for each split."""
    dice = random.Random(seed)
    (folder / "pages").mkdir(parents=True)
    lines: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    sources = {}
    for number in range(count + 3 * intact):
        image = number % len(images)
        name, save = dice.choice(list(FORMATS.items()))
        if (image, name) not in sources:
            sources[image, name] = save(Image.fromarray(images[image]))
        content = sources[image, name]
        split = "train" if number < count + intact else "val" if number < count + 2 * intact else "test"
        path = f"{number:05d}-{name}"
        (folder / "pages" / path).write_bytes(mutated(content, dice) if number < count else content)
        lines[split].append(f"{path} {number % CLASSES}\n")
    for split, text in lines.items():
        (folder / f"{split}.txt").write_text("".join(text))
    places = {split: str(folder / f"{split}.txt") for split in lines}
    return DataConfig(root=str(folder / "pages"), max_rejected=1.0 * count, **places)
