"""Headless Chromium, driven by Playwright; Debian's is installed by apt-get where there is none."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class BrowserError(RuntimeError):
    """This machine has no Chromium and cannot install it."""


def install_chromium() -> str:
    """Path of Chromium, installed if it is missing.

    Raises:
        BrowserError: the user is not root, or apt-get cannot install it.
    """
    found = shutil.which("chromium", path="/usr/bin:/usr/local/bin")
    if found:
        return found
    if os.geteuid() != 0:
        raise BrowserError("tests in a browser need Chromium; install Debian's package chromium, or run them as root")
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        ended = subprocess.run(["apt-get", "-qq", *command], capture_output=True, text=True, check=False)
        if ended.returncode:
            raise BrowserError(f"chromium cannot be installed: {ended.stderr.strip()}")
    return CHROMIUM


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of Playwright's synchronous interface."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install_chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
