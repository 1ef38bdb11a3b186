"""Asking a running member, from a program: its status, its members, and what changes them."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

from tenure.admin import wire
from tenure.admin.address import split_address
from tenure.errors import NotLeader, OutcomeUnknown, ProtocolError, Refused, Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AdminClient", "ask_status", "split_address"]

MAX_BYTES = 1 << 20
SLACK_S = 2.0  # a member that answers at its deadline is still heard
PAUSE_S = 0.1
DEFECT = 500


def ask_status(address: str, *, timeout: float = 2.0) -> dict[str, Any]:
    """The status of the member whose admin endpoint listens on `address`.

    Raises:
        ConnectionError: nobody listens there.
        Timeout: no answer came in time.
        ProtocolError: what answered is no member of ours.
    """
    status, answer = exchange(address, "GET", "/status", timeout=timeout)
    if status != 200 or "member_id" not in answer:
        raise ProtocolError(f"{address} is no admin endpoint")
    return answer


def exchange(
    address: str,
    method: str,
    path: str,
    request: Mapping[str, Any] | None = None,
    *,
    timeout: float,
    token: str | None = None,
) -> tuple[int, dict[str, Any]]:
    """One request and the JSON object that answers it, whatever its status.

    Raises:
        ConnectionError: nobody listens there, or the connection broke before the request had left.
        Timeout: no answer came in time, to a request that changes nothing.
        OutcomeUnknown: no answer, or none that tells, to one that may have changed something.
        ProtocolError: what answered is no member of ours.
    """
    host, port = split_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = None
    if request is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(request).encode()
    sent = False
    try:
        connection.connect()
        connection.request(method, path, body, headers)
        sent = method != "GET"
        response = connection.getresponse()
        content = response.read(MAX_BYTES)
        answer = json.loads(content)
    except TimeoutError:
        if sent:
            raise OutcomeUnknown(f"{address} did not answer within {timeout:g} s: ask it for its members") from None
        raise Timeout(f"{address} did not answer within {timeout:g} s") from None
    except OSError as error:
        if sent:
            raise OutcomeUnknown(f"{address} hung up before it answered: {error}") from None
        raise
    except (http.client.HTTPException, ValueError) as error:
        if sent:
            raise OutcomeUnknown(f"{address} gave no answer that tells what came of it: {error}") from None
        raise ProtocolError(f"{address} is no admin endpoint: {error}") from error
    finally:
        connection.close()
    if not isinstance(answer, dict):
        if sent:
            raise OutcomeUnknown(f"{address} gave no answer that tells what came of it")
        raise ProtocolError(f"{address} is no admin endpoint")
    if sent and response.status == DEFECT and wire.error_code(answer) == "error":
        raise OutcomeUnknown(f"{address} met a defect of its own: ask it for its members, and see its log")
    return response.status, answer


class AdminClient:
    """Asks one of several members, and follows it to the leader. One thread at a time."""

    def __init__(self, addresses: Sequence[str], *, token: str | None = None) -> None:
        """Ask the first of `addresses` ("host:port" of admin endpoints) that can answer.

        Raises:
            ValueError: one of them is no address.
        """
        for address in addresses:
            split_address(address)
        self.addresses = tuple(addresses)
        self._token = token

    def get(self, path: str, *, timeout: float = 5.0) -> dict[str, Any]:
        """What is known at `path`, by the first member that answers.

        Raises:
            ConnectionError: nobody listens at any of the addresses.
            TenureError: what the member says, or its kinds as of `exchange`.
        """
        return self._ask("GET", path, None, timeout)

    def post(
        self, path: str, request: Mapping[str, Any] | None = None, *, timeout: float = wire.DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        """Have something done by the leader, or by the member asked where it can do it.

        A refusal that may pass is repeated until `timeout`; so is the search for somebody who listens. What may have
        happened is never repeated.

        Raises:
            ConnectionError: nobody listens at any of the addresses.
            TenureError: what the member says, or its kinds as of `exchange`.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.1, deadline - time.monotonic())
            limit = min(left, wire.MAX_TIMEOUT_S)
            try:
                return self._ask("POST", path, {**(request or {}), "timeout_s": limit}, limit + SLACK_S)
            except Refused as error:
                if not error.retryable or time.monotonic() + PAUSE_S > deadline:
                    raise
            time.sleep(PAUSE_S)

    def _ask(self, method: str, path: str, request: Mapping[str, Any] | None, timeout: float) -> dict[str, Any]:
        trouble: Exception = ConnectionError("no address to ask")
        for address in self.addresses:
            try:
                status, answer = exchange(address, method, path, request, timeout=timeout, token=self._token)
            except Timeout as error:
                trouble = error
                continue
            except OSError as error:
                trouble = ConnectionError(f"cannot reach {address}: {error}")
                continue
            try:
                return judged(address, status, answer)
            except NotLeader as error:
                leader = error.details.get("admin")
                if not isinstance(leader, str):
                    trouble = error
                    continue
            return judged(leader, *exchange(leader, method, path, request, timeout=timeout, token=self._token))
        raise trouble


def judged(address: str, status: int, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a member, or the error that it is."""
    if status == 200:
        return answer
    raise wire.error_from_json(answer) or ProtocolError(f"{address} is no admin endpoint: it answers {status}")
