"""The network interface of this host that holds an address.

Only the standard library is imported: the doctor sends this module by value to hosts where the project may be missing.
"""

import contextlib
import fcntl
import socket
import struct

SIOCGIFADDR = 0x8915
"""ioctl request for an interface's IPv4 address (Linux, netdevice(7))."""


def interface_names() -> list[str]:
    """Names of this host's network interfaces."""
    return [name for _, name in socket.if_nameindex()]


def interface_of(address: str) -> str | None:
    """Name of the interface that holds the IPv4 `address`; None where no interface does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in interface_names():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, request)
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None
