"""Files become regions of pages, or a rejection with its reason; in this process, without a pool."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from launch.service.decoder import DecodedPage, Rejection, Setup, decode_file
from trainer.serving.decode import Cut

CUT = Cut({"holistic": (0, 0, 1, 1), "left": (0, 0, 0.5, 1)}, (16, 8, 1))
SETUP = Setup(CUT, max_pages=3, max_pixels=100_000, file_s=60)


def saved(*levels: int, size: tuple[int, int] = (100, 200), kind: str = "TIFF", **options: object) -> bytes:
    images = [Image.new("L", size, level) for level in levels]
    file = BytesIO()
    images[0].save(
        file, kind, **({"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}), **options
    )
    return file.getvalue()


def pages_of(content: bytes, *, preview: bool = False) -> list[DecodedPage]:
    decoded = decode_file(content, SETUP, preview=preview)
    assert isinstance(decoded, list)
    return [page for page in decoded if isinstance(page, DecodedPage)]


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "BMP", "WebP"])
def test_an_image_is_one_page(kind: str) -> None:
    (page,) = pages_of(saved(200, kind=kind))
    assert {name: region.shape for name, region in page.regions.items()} == dict.fromkeys(CUT.regions, (16, 8, 1))
    assert all(abs(int(region.mean()) - 200) <= 1 for region in page.regions.values())
    assert (page.page_height, page.page_width, page.preview) == (200, 100, None)


@pytest.mark.parametrize("kind", ["TIFF", "PDF"])
def test_a_document_has_a_page_each(kind: str) -> None:
    pages = pages_of(saved(50, 150, 250, kind=kind, resolution=200))
    assert [round(page.regions["holistic"].mean(), -1) for page in pages] == [50, 150, 250]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"a text", "unsupported"),
        (b"GIF89a" + bytes(50), "unsupported"),
        (b"II*\0" + bytes(50), "unreadable"),
        (b"%PDF-1.7\n", "unreadable"),
        (saved(1, kind="PNG")[:60], "unreadable"),
        (saved(1, 2, 3, 4), "too_large"),
        (saved(1, size=(400, 400)), "too_large"),
    ],
)
def test_what_is_rejected(content: bytes, reason: str) -> None:
    decoded = decode_file(content, SETUP, preview=False)
    found = decoded if isinstance(decoded, Rejection) else decoded[0]
    assert isinstance(found, Rejection)
    assert found.reason == reason
    assert found.text


def test_one_page_too_many_pixels_leaves_the_others() -> None:
    images = [Image.new("L", (100, 100)), Image.new("L", (400, 400))]
    file = BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    decoded = decode_file(file.getvalue(), SETUP, preview=False)
    assert isinstance(decoded, list)
    assert [isinstance(page, Rejection) for page in decoded] == [False, True]


def test_a_preview_is_small_and_keeps_its_shape() -> None:
    setup = Setup(CUT, max_pages=3, max_pixels=10**8, file_s=60)
    decoded = decode_file(saved(180, size=(3000, 1500), kind="PNG"), setup, preview=True)
    assert isinstance(decoded, list) and isinstance(decoded[0], DecodedPage)
    shown = np.asarray(Image.open(BytesIO(decoded[0].preview or b"")))
    assert shown.shape == (500, 1000)
    assert abs(int(shown.mean()) - 180) <= 1
