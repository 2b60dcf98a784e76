"""Options of `regionstack serve`, and the address that it listens on, before anything heavy is started."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from data_tools.errors import UserError
from launch.service.server import ServeOptions, listening


@pytest.mark.parametrize("values", [{"replicas": 0}, {"decoders": 0}, {"port": -1}, {"port": 65536}])
def test_an_option_out_of_its_range(values: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        ServeOptions(run=Path("run"), **values)  # type: ignore[arg-type]


def test_a_free_port_is_found_and_not_yet_open() -> None:
    with closing(listening("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="in use"):
            listening("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(UserError, match=host):
        listening(host, 0)
