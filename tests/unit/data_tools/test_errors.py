"""Which exceptions only report that another rank is gone: one table for horovodrun and for Ray."""

import pytest

from cluster.liveness import worker
from data_tools.errors import UserError, is_lost_peer


class HorovodInternalError(RuntimeError):
    """Named as Horovod names it; Horovod itself is not imported here."""


class UnknownError(Exception):
    """Named as TensorFlow names it."""


# exception -> whether its rank only lost a peer
TABLE = [
    (HorovodInternalError("anything"), True),
    (RuntimeError("Horovod has been shut down. This was caused by an exception on one of the ranks"), True),
    (
        UnknownError("HorovodAllreduce: [gloo/transport/tcp/pair.cc:589] Connection closed by peer [10.0.0.2]:3311"),
        True,
    ),
    (UnknownError("Failed to get convolution algorithm"), False),
    (ValueError("labels and logits differ in shape"), False),
    (UserError("page: its text is Horovod has been shut down"), False),
]


@pytest.mark.parametrize(("error", "lost"), TABLE)
def test_lost_peer(error: Exception, lost: bool) -> None:
    assert is_lost_peer(error) is lost


@pytest.mark.parametrize(("number", "lost"), [(number, lost) for number, (_, lost) in enumerate(TABLE)])
def test_the_worker_report_uses_the_same_table(number: int, lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_RANK", "0")
    report = worker.call(f"{__name__}:raise_row", {"row": number})
    assert report["failure"]["lost_peer"] is lost


def raise_row(payload: dict[str, int]) -> None:
    raise TABLE[payload["row"]][0]
