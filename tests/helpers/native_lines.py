"""Start-up lines of TensorFlow, absl and CUDA, which no command of ours may show."""

import re

NATIVE = re.compile(
    r"^(?:\[\d+\]<std(?:out|err)>:)?(?:[IWEF]\d{4} |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] "
    r"|WARNING: All log messages before absl|To enable the following instructions:|INFO: Created TensorFlow Lite).*",
    re.MULTILINE,
)


def check_no_native_line(output: str) -> None:
    """Check what a command of ours has printed.

    Raises:
        AssertionError: a line is of a native library.
    """
    found = NATIVE.search(output)
    if found:
        raise AssertionError(f"a native library's line reached the terminal: {found[0][:200]}")
