"""A conversion on all hosts of a Ray cluster."""

import contextlib
from collections.abc import Iterator
from typing import Any

from cluster.on_ray.address import address_to_join
from data_tools.conversion.across_hosts import ShareRunner
from data_tools.errors import UserError
from launch.config import Config
from launch.terminal.console import print_out

WRITE_SHARE = "data_tools.conversion.across_hosts:write_share"


@contextlib.contextmanager
def over_all_hosts(config: Config) -> Iterator[ShareRunner | None]:
    """Yield what `convert` needs to use the hosts of a Ray cluster; None without a cluster.

    The cluster is the one that `cluster.address` names, or one that runs on this host. If the latter cannot be joined,
    this host converts alone.

    Raises:
        UserError: the address in the configuration does not answer, or Ray rejects the connection.
    """
    if address_to_join(config.cluster.address) is None:
        yield None
        return
    lines: list[str] = []
    with contextlib.ExitStack() as stack:
        yield _join(config, stack, lines)
    # Until here, a progress bar owned the terminal.
    for line in lines:
        print_out(line)


def _join(config: Config, stack: contextlib.ExitStack, lines: list[str]) -> ShareRunner | None:
    """Join the cluster until `stack` closes. Each host adds a line about its share to `lines`."""
    from cluster.on_ray.each_host import host_pool  # Ray takes seconds to import

    try:
        hosts = stack.enter_context(host_pool(config.cluster))
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
            lines.append(f"{called.host}: {done}")

    return ShareRunner(len(hosts.hosts), run)
