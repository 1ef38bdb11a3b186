"""`AdminServer`: GET /status, /metrics and /health over HTTP, for people, scripts and scrapers.

It runs in Python threads of the member's process and touches nothing but a `MemberReport`, so it can be slow without
anybody noticing. A bounded number of requests is served at a time, each within a bounded time; others wait in the
listen queue. It answers nothing but GET, and it never changes anything.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tenure.admin.report import metrics_text
from tenure.errors import AddressUnavailable

if TYPE_CHECKING:
    from tenure.admin.report import MemberReport

__all__ = ["AdminServer"]

logger = logging.getLogger("tenure.admin")

AT_A_TIME = 8
REQUEST_S = 5.0


class AdminServer:
    """The endpoint of one member, listening from its construction until `close`."""

    def __init__(self, report: MemberReport, host: str, port: int) -> None:
        """Listen on `host` (numeric) and `port` (0: any).

        Raises:
            AddressUnavailable: the address cannot be listened on.
        """
        try:
            self._server = BoundedServer(report, host, port)
        except OSError as error:
            address = f"{host}:{port}"
            raise AddressUnavailable(
                f"cannot listen on {address}: {error}", address=address, errno=error.errno
            ) from error
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="tenure-admin", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Requests under way end by themselves, within their time limit."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


class BoundedServer(ThreadingHTTPServer):
    """The standard library's server, with a limit to the threads it starts."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, report: MemberReport, host: str, port: int) -> None:
        self.report = report
        self._slots = threading.BoundedSemaphore(AT_A_TIME)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), AdminHandler)

    def server_bind(self) -> None:
        """As the parent's, without asking the resolver for this machine's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Wait for a free slot; every request gives its own back within `REQUEST_S`."""
        self._slots.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the parent's, and gives the slot back."""
        watchdog = threading.Timer(REQUEST_S, hang_up, (request,))
        watchdog.daemon = True
        watchdog.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            watchdog.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        logger.debug("a request from %s failed", client_address)


def hang_up(request: socket.socket) -> None:
    """End a connection that takes too long."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class AdminHandler(BaseHTTPRequestHandler):
    """One request."""

    server: BoundedServer
    timeout = REQUEST_S
    server_version = "tenure"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer, or say which paths there are."""
        report = self.server.report
        match self.path.partition("?")[0]:
            case "/status":
                self._answer(200, "application/json", json.dumps(report.status(), separators=(",", ":")) + "\n")
            case "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(report.status()))
            case "/health":
                healthy = report.healthy()
                self._answer(200 if healthy else 503, "application/json", json.dumps({"healthy": healthy}) + "\n")
            case _:
                self._answer(404, "text/plain; charset=utf-8", "try /status, /metrics or /health\n")

    def _answer(self, code: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Requests are logged for who asks for it."""
        logger.debug(format, *args)
