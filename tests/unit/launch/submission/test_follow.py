"""Following a run over connections that break; the launcher is a script of what each connection brings."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cluster.remote.launcher import ConnectionLost
from data_tools.errors import UserError
from launch.submission.submit import PATIENCE_S, follow

News = dict[str, Any]


class Script:
    """A launcher whose n-th connection brings the n-th list of news, and then breaks; None: it does not come up."""

    file = "cluster.yaml"

    def __init__(self, *connections: list[News] | None) -> None:
        self.connections, self.offsets = list(connections), list[int]()
        self.now = 0.0

    @contextlib.contextmanager
    def news(self, action: str, arguments: Mapping[str, Any]) -> Iterator[Iterator[News]]:
        self.offsets.append(arguments["offset"])
        found = self.connections.pop(0) if self.connections else None
        if found is None:
            raise ConnectionLost("noise | ssh: No route to host")
        yield iter(found)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def follow(self) -> int:
        return follow(self, "job", clock=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]


def ended(status: int | None) -> News:
    return {"ended": "FAILED" if status else "SUCCEEDED", "status": status, "message": ""}


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (2, 2), (75, 75), (None, 1)])
def test_the_runs_own_exit_status_is_returned(status: int | None, expected: int) -> None:
    assert Script([{"alive": 1.0}, ended(status)]).follow() == expected


def test_each_connection_continues_where_the_last_one_broke(capsys: pytest.CaptureFixture[str]) -> None:
    script = Script([{"offset": 6, "text": "first\n"}], None, None, [{"offset": 13, "text": "second\n"}], [ended(0)])
    assert script.follow() == 0
    assert script.offsets == [0, 6, 6, 6, 13]
    output = capsys.readouterr()
    assert output.out == "first\nsecond\n"
    assert output.err.count("connection is lost") == 2


def test_patience_ends() -> None:
    script = Script([{"alive": 1.0}])
    with pytest.raises(UserError, match=r"run the same command again later.*No route to host"):
        script.follow()
    assert PATIENCE_S < script.now < PATIENCE_S + 60


@pytest.mark.parametrize("news", [{"lost": "job"}, {"error": "Ray's job server does not answer"}])
def test_a_head_that_has_lost_the_job_ends_it(news: News) -> None:
    with pytest.raises(UserError):
        Script([{"alive": 1.0}], [news]).follow()
