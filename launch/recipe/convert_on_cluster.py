"""A conversion on all hosts of a Ray cluster, where one is joined."""

import contextlib
from collections.abc import Iterator
from typing import Any

from cluster.on_ray.address import address_to_join
from data_tools.conversion.across_hosts import ShareRunner
from data_tools.errors import UserError
from launch.config import Config
from launch.console import print_out

WRITE_SHARE = "data_tools.conversion.across_hosts:write_share"


@contextlib.contextmanager
def over_all_hosts(config: Config) -> Iterator[ShareRunner | None]:
    """How `convert` uses the hosts of the cluster that `cluster.address` names or that runs here; None without one.

    A cluster that merely runs here and cannot be joined is no reason not to convert.

    Raises:
        UserError: the address that the configuration names does not answer, or Ray refuses us.
    """
    if address_to_join(config.cluster.address) is None:
        yield None
        return
    news: list[str] = []
    with contextlib.ExitStack() as stack:
        yield _joined(config, stack, news)
    # Only now: until here, a progress bar has had the terminal.
    for line in news:
        print_out(line)


def _joined(config: Config, stack: contextlib.ExitStack, news: list[str]) -> ShareRunner | None:
    from cluster.on_ray.each_host import every_host  # Here, since Ray takes seconds to import.

    try:
        hosts = stack.enter_context(every_host(config.cluster))
    except UserError as error:
        if config.cluster.address is not None:
            raise
        print_out(f"note: converting on this host alone: {error}")
        return None
    if hosts is None:
        return None
    print_out(f"converting on {len(hosts.hosts)} hosts of the Ray cluster at {hosts.address}: {', '.join(hosts.hosts)}")

    def run(payloads: list[dict[str, Any]]) -> None:
        for called in hosts.call(WRITE_SHARE, payloads):
            done = f"did not finish its share ({called.error})" if called.error else f"{called.result['pages']} pages"
            news.append(f"{called.host}: {done}")

    return ShareRunner(len(hosts.hosts), run)
