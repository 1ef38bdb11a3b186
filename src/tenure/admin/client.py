"""Asking a running member for its status."""

from __future__ import annotations

import http.client
import json
from typing import Any

from tenure.errors import ProtocolError, Timeout

__all__ = ["ask_status", "split_address"]

MAX_BYTES = 1 << 20


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of "host:port"; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is none.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def ask_status(address: str, *, timeout: float = 2.0) -> dict[str, Any]:
    """The status of the member whose admin endpoint listens on `address`.

    Raises:
        ConnectionError: nobody listens there.
        Timeout: no answer came in time.
        ProtocolError: what answered is no member of ours.
    """
    host, port = split_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        body = response.read(MAX_BYTES)
        answer = json.loads(body) if response.status == 200 else None
    except TimeoutError:
        raise Timeout(f"{address} did not answer within {timeout} s") from None
    except (http.client.HTTPException, ValueError) as error:
        raise ProtocolError(f"{address} is no admin endpoint: {error}") from error
    finally:
        connection.close()
    if not isinstance(answer, dict) or "member_id" not in answer:
        raise ProtocolError(f"{address} is no admin endpoint")
    return answer
