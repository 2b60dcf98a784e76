"""What the tests of commands take for a line of TensorFlow, absl or CUDA."""

import pytest

from tests.helpers.native_lines import check_no_native_line

NATIVE = [
    "I0000 00:00:1795716705.125932   21144 port.cc:153] oneDNN custom operations are on.",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "2026-11-26 18:11:45.125932: I tensorflow/core/util/port.cc:153] oneDNN",
    "E0000 00:00:1795716705.125932 1 cuda_dnn.cc:8579] Unable to register cuDNN factory",
    "[1]<stderr>:I0000 00:00:1795716705.125932   21144 port.cc:153] oneDNN",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
]
OURS = ["top: done in 12 s", "WARNING the best checkpoint is missing", "[0]<stdout>:importing TensorFlow and Horovod",
        "error: host: rank 0 was promised a GPU: I0000 said so"]  # fmt: skip


@pytest.mark.parametrize("line", NATIVE)
def test_lines_of_libraries(line: str) -> None:
    with pytest.raises(AssertionError):
        check_no_native_line(f"before\n{line}\nafter")


@pytest.mark.parametrize("line", OURS)
def test_lines_of_ours(line: str) -> None:
    check_no_native_line(f"before\n{line}\nafter")
