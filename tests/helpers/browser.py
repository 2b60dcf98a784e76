"""Headless Chromium, driven by Playwright, and other programs of Debian that a test needs; installed where missing."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class InstallError(RuntimeError):
    """This machine lacks a program and cannot install it."""


def install(program: str, package: str) -> str:
    """Path of a program, which apt-get installs if it is missing.

    Raises:
        InstallError: the user is not root, or apt-get cannot install it.
    """
    path = "/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin"
    if found := shutil.which(program, path=path):
        return found
    if os.geteuid() != 0:
        raise InstallError(f"these tests need {program}; install Debian's package {package}, or run them as root")
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        ended = subprocess.run(
            ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *command], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise InstallError(f"{package} cannot be installed: {ended.stderr.strip()}")
    return str(shutil.which(program, path=path))


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser of Playwright's synchronous interface."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install("chromium", "chromium"), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
