"""Admission: a place and memory for each request, and the refusal of the next one."""

import pytest

from data_tools.errors import UserError
from launch.service.limits import MIB, Admission, Busy, Limits


@pytest.mark.parametrize(
    "values", [{"queue": 0}, {"pages": -1}, {"decode_s": 0.0}, {"upload_mib": 100, "memory_mib": 99}]
)
def test_a_limit_out_of_its_range_is_an_error(values: dict[str, int]) -> None:
    with pytest.raises(UserError):
        Limits(**values)  # type: ignore[arg-type]


def test_the_queue_is_full_and_then_has_a_place_again() -> None:
    admission = Admission(Limits(queue=2))
    with admission.admitted(1):
        with admission.admitted(1):
            with pytest.raises(Busy) as refused, admission.admitted(1):
                pass
            assert refused.value.reason == "queue_full"
            assert refused.value.retry_s >= 1
        with admission.admitted(1):
            pass
    assert (admission.requests, admission.reserved_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("declared", "fit"),
    [
        ([MIB, MIB, MIB], 3),
        ([2 * MIB, 2 * MIB], 1),
        # A client that does not say how much it sends may send the limit.
        ([None, None], 1),
        ([2 * MIB, 0, MIB, 1], 3),
    ],
)
def test_memory_for_uploads_is_reserved(declared: list[int | None], fit: int) -> None:
    admission = Admission(Limits(upload_mib=2, memory_mib=3))
    admitted = []
    for size in declared:
        context = admission.admitted(size)
        try:
            context.__enter__()
        except Busy as refused:
            assert refused.reason == "memory_full"
        else:
            admitted.append(context)
    assert len(admitted) == fit


def test_a_failed_request_returns_its_place() -> None:
    admission = Admission(Limits())
    with pytest.raises(KeyError), admission.admitted(MIB):
        raise KeyError
    assert (admission.requests, admission.reserved_bytes) == (0, 0)


def test_slow_answers_ask_clients_to_wait_longer() -> None:
    admission = Admission(Limits())
    assert admission.busy("queue_full", "full").retry_s == 1
    admission.took(7.2)
    assert admission.busy("queue_full", "full").retry_s == 8
    for _ in range(100):
        admission.took(1000.0)
    assert admission.busy("queue_full", "full").retry_s == 60
