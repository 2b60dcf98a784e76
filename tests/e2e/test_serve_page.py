"""The service's page in a real browser: drop a scan, read the bars, use the keyboard, on a phone, with a token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import chromium
from tests.helpers.service import Service, serving

TOKEN = "correct-horse-battery"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def service(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "token").write_text(TOKEN)
    with serving(finished, folder, "--decoders", "1", "--token-file", str(folder / "token")) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, service: Service) -> Iterator[Any]:
    """The page after its token was entered; a message on the console or a request elsewhere fails the test."""
    with browser.new_context(viewport=DESKTOP) as context:
        tab = context.new_page()
        messages: list[str] = []
        elsewhere: list[str] = []
        # Chromium reports each answer of 4xx there; the page shows them to people.
        tab.on("console", lambda m: m.text.startswith("Failed to load resource") or messages.append(m.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.on(
            "request",
            lambda request: request.url.startswith((service.url, "data:", "blob:")) or elsewhere.append(request.url),
        )
        tab.goto(service.url)
        tab.get_by_label("token").fill(TOKEN)
        tab.keyboard.press("Enter")
        tab.get_by_text("16 classes").wait_for()
        yield tab
        assert messages == []
        assert elsewhere == []


@pytest.fixture(scope="module")
def scans(tiny: Path) -> list[Path]:
    return sorted((tiny.parent / "pages").rglob("*.tif"))[:3]


def drop(page: Any, *files: Path) -> None:
    """Drop files as a person does with the mouse."""
    data = page.evaluate_handle(
        """files => { const data = new DataTransfer();
        for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name)); return data; }""",
        [[path.name, list(path.read_bytes())] for path in files],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})


def widths(page: Any) -> list[float]:
    return [float(width) for width in page.eval_on_selector_all(".fill", "bars => bars.map(b => b.offsetWidth)")]


def test_a_dropped_scan_is_shown_with_every_model(page: Any, service: Service, scans: list[Path]) -> None:
    answer = service.predict((scans[0].name, scans[0].read_bytes()), headers={"Authorization": f"Bearer {TOKEN}"}).json[
        "answers"
    ][0]
    drop(page, scans[0])
    page.wait_for_selector("#result:not([hidden])")
    assert page.locator("#answer strong").inner_text() == answer["class"]
    assert f"{100 * answer['confidence']:.1f}\u00a0%" in page.locator("#answer").inner_text()
    assert answer["class"] in page.locator("[role=status]").inner_text()
    assert page.locator("section.model").count() == len(answer["members"]) == 5
    for name, vote in answer["members"].items():
        assert page.get_by_label(f"Model {name}").locator("dt").first.inner_text() == vote["class"]
    assert page.locator(".sheet rect").count() == 4
    assert page.eval_on_selector(".sheet img", "image => image.naturalWidth") > 0
    assert sum(width > 0 for width in widths(page)) == 5 + 5 * 3


def test_with_the_keyboard_alone(page: Any, scans: list[Path]) -> None:
    page.locator("body").press("Tab")
    with page.expect_file_chooser() as chooser:
        for _ in range(4):
            if page.evaluate("document.activeElement.id") == "files":
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Space")
    chooser.value.set_files([str(path) for path in scans])
    page.wait_for_selector("#result:not([hidden])")
    assert page.evaluate("document.activeElement.closest('nav')?.id") == "strip"
    captions = [page.locator("figcaption").inner_text()]
    for key in ("ArrowRight", "End", "ArrowLeft", "Home"):
        page.keyboard.press(key)
        captions.append(page.locator("figcaption").inner_text())
    names = [next(path.name for path in scans if path.name in caption) for caption in captions]
    assert names == [scans[place].name for place in (0, 1, 2, 1, 0)]
    page.get_by_label("Model top").focus()
    assert page.locator(".sheet rect.on").count() == 1


def test_errors_are_shown_in_words(page: Any, scans: list[Path], tmp_path: Path) -> None:
    damaged, text = tmp_path / "damaged.tif", tmp_path / "notes.txt"
    damaged.write_bytes(scans[0].read_bytes()[:200])
    text.write_text("no scan")
    drop(page, scans[0], damaged)
    page.wait_for_selector("#result:not([hidden])")
    assert "damaged.tif" in page.get_by_role("alert").inner_text()
    drop(page, text)
    page.get_by_role("alert").get_by_text("notes.txt").wait_for()
    drop(page, scans[1])
    page.locator("figcaption").get_by_text(scans[1].name).wait_for()
    assert page.locator(".errors").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, service: Service, scans: list[Path], scheme: str) -> None:
    with browser.new_context(viewport=PHONE, color_scheme=scheme, has_touch=True) as context:
        tab = context.new_page()
        tab.goto(service.url)
        tab.get_by_label("token").fill(TOKEN)
        tab.keyboard.press("Enter")
        tab.get_by_text("16 classes").wait_for()
        tab.set_input_files("#files", [str(scans[0])])
        tab.wait_for_selector("#result:not([hidden])")
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert (
            tab.evaluate("getComputedStyle(document.body).backgroundColor")
            == {"light": "rgb(245, 246, 248)", "dark": "rgb(20, 24, 31)"}[scheme]
        )
