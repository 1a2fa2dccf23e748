"""URLs of servers, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit, urlunsplit

from ragscale.errors import InvalidInput

__all__ = ["is_here", "is_loopback", "is_unspecified", "server_url"]

_OWN_NAMES = {"localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback"}
"""Names of the loopback interface in the hosts files of Linux."""


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine itself: ``localhost``, ``127.0.0.2``, ``::1``.

    Addresses in the older spellings that a resolver takes count as well (``127.1``, ``0x7f000001``, ``2130706433``), as
    do IPv4 addresses within IPv6 ones (``::ffff:127.0.0.1``) and a final dot.

    Args:
        host: Without a port; an IPv6 address may stand in brackets.
    """
    name = _name(host)
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def is_unspecified(host: str) -> bool:
    """Whether a host is the address of all interfaces (``0.0.0.0``, ``0``, ``::``); `host` is as of `is_loopback`."""
    address = _address(_name(host))
    return address is not None and address.is_unspecified


def is_here(host: str) -> bool:
    """Whether a host is this machine, which no proxy leads to.

    `is_loopback`, names below ``localhost`` (RFC 6761), the machine's own name, and the address that servers which
    listen on all interfaces tell of themselves (``0.0.0.0``, ``0``, ``::``).

    Args:
        host: As of `is_loopback`.
    """
    name = _name(host)
    address = _address(name)
    if address is not None:
        return address.is_loopback or is_unspecified(host)
    own = socket.gethostname().lower()
    return name.rpartition(".")[2] == "localhost" or name in {*_OWN_NAMES, own, own.partition(".")[0]} - {""}


def _name(host: str) -> str:
    return host.removeprefix("[").removesuffix("]").lower().removesuffix(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a resolver reads in `name`; None where it is a name."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            # what stands behind a blank would not be read
            return ipaddress.IPv4Address(socket.inet_aton(name if name.split() == [name] else ""))
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


def server_url(url: str, *, example: str, secret: str) -> str:
    """The URL of a server, without a slash at its end.

    Args:
        url: As it was written.
        example: What one looks like, for the error.
        secret: Environment variable that credentials belong into.

    Raises:
        InvalidInput: `url` is not an http(s) URL, no host name or port can be so, or it holds credentials or a query.
    """
    import httpx  # a quarter of a second

    try:
        parts = urlsplit(url)
        bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        host = httpx.URL(bare).raw_host.decode()
        host.encode("idna")  # as the resolver does, which knows no empty part of a name and none above 63 characters
        sound = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        sound = False
    if not sound:
        shown = url.rpartition("@")[2].partition("?")[0]  # without all that may be credentials or a query
        raise InvalidInput(f"{shown!r} is not a URL of a server", f"Write it as in {example}; ports end at 65535.")
    if "@" in parts.netloc or parts.query:
        # HTTP libraries log URLs.
        shown = bare.replace(parts.netloc, parts.netloc.rpartition("@")[2])
        raise InvalidInput(
            f"The URL {shown} holds credentials or a query", f"Put them into the environment variable {secret}."
        )
    return bare.rstrip("/")
