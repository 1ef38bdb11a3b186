"""Addresses as people write them."""

from __future__ import annotations

__all__ = ["split_address"]


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of "host:port"; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is none.
    """
    host, colon, port = address.rpartition(":")
    # An address goes into headers and lines of text: nothing in it may end one.
    if not colon or not host or not host.isprintable() or " " in host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
