"""What every test process shares: repeatable, offline, and without a window."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# Before anything imports NumPy or a plotting library. One thread a process keeps parallel workers out of each other's
# way and sums in one order; the hub clients then fail at once instead of retrying.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"

# No deadline: a shared machine's timing is not a property of the code. CI must not fail on a new random example
# that has nothing to do with the change; developers' runs look for new ones.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_LOCAL_HOSTS = frozenset({"", "0.0.0.0", "127.0.0.1", "::", "::1", "localhost"})


def _host(address: Any) -> str | None:
    """Return the host that a socket address leads to, None where it stays on this machine by kind (a Unix socket)."""
    return str(address[0]) if isinstance(address, tuple) else None


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine, by name, rather than let a test depend on one."""
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def refuse(host: str | None) -> None:
        if host is not None and host not in _LOCAL_HOSTS:
            raise RuntimeError(f"a test tried to reach {host!r}: tests run without a network, give it local data")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(_host(address))
        connect(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse(host.decode() if isinstance(host, bytes) else host)
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield
