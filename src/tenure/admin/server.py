"""`AdminServer`: GET /status, /metrics and /health over HTTP, and, under /v1/, what may be asked of a member.

It runs in Python threads of the member's process and touches nothing but a `MemberReport` and a `MemberControl`, so it
can be slow without anybody noticing. A bounded number of requests is served at a time, each within a bounded time;
others wait in the listen queue.

What changes something must not be driven by a web page that the operator happens to look at. Whatever a browser sends
for a page carries an Origin, or says by Sec-Fetch-Site that it does: requests to /v1/ with either are refused, and so
are those whose body is not declared as JSON, which a page cannot do without asking first. With a token, /v1/ wants it
in every request.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tenure.admin import wire
from tenure.admin.report import metrics_text
from tenure.config import check_listen_address
from tenure.errors import AddressUnavailable, InvalidArgument, NotLeader, TenureError, TooLarge, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tenure.admin.control import MemberControl
    from tenure.admin.report import MemberReport

__all__ = ["AdminServer", "check_token"]

logger = logging.getLogger("tenure.admin")

AT_A_TIME = 8
REQUEST_S = 5.0  # to send a request, and to take an answer
POLL_S = 0.2
MIN_TOKEN_CHARACTERS = 16
LOCALHOST = "127.0.0.1"


def check_token(token: str) -> str:
    """A token that may guard an endpoint.

    Raises:
        InvalidArgument: it is too short to guard anything, or cannot stand in a header.
    """
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidArgument(
            f"admin_token: wants at least {MIN_TOKEN_CHARACTERS} printable characters without blanks",
            field="admin_token",
        )
    return token


class AdminServer:
    """The endpoint of one member, listening from its construction until `close`."""

    def __init__(
        self,
        report: MemberReport,
        host: str,
        port: int,
        *,
        control: MemberControl | None = None,
        token: str | None = None,
        insecure: bool = False,
    ) -> None:
        """Listen on `host` (numeric, or "localhost") and `port` (0: any).

        Args:
            report: what GET answers from.
            host: the address to listen on.
            port: the port to listen on.
            control: what /v1/ carries out; without it there is no /v1/.
            token: what requests to /v1/ must carry as a bearer token; None: nothing.
            insecure: listen on an address other than loopback although nothing is encrypted.

        Raises:
            InvalidArgument: the address is not loopback and `insecure` is not said, or the token guards nothing.
            AddressUnavailable: the address cannot be listened on.
        """
        host = LOCALHOST if host == "localhost" else host
        check_listen_address(host, insecure=insecure)
        guard = None if token is None else check_token(token).encode()
        try:
            self._server = BoundedServer(report, control, guard, host, port)
        except OSError as error:
            address = f"{host}:{port}"
            raise AddressUnavailable(
                f"cannot listen on {address}: {error}", address=address, errno=error.errno
            ) from error
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": POLL_S}, name="tenure-admin", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Requests under way end by themselves, within their time limit."""
        self._server.closing = True
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

    def __init__(
        self, report: MemberReport, control: MemberControl | None, token: bytes | None, host: str, port: int
    ) -> None:
        self.report = report
        self.control = control
        self.token = token
        self.closing = False
        self._watchdogs: dict[Any, threading.Timer] = {}
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
        """Wait for a free slot; every request gives its own back within its time limit. Who stops waits for nobody."""
        while not self._slots.acquire(timeout=POLL_S):
            if self.closing:
                self.shutdown_request(request)
                return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As the parent's, and gives the slot back. Without a thread that watches it, a request is not served."""
        try:
            self.allow(request, REQUEST_S)
            super().process_request_thread(request, client_address)
        except RuntimeError:
            logger.warning("no thread for a request")
            self.shutdown_request(request)
        finally:
            self._watchdogs.pop(request).cancel()
            self._slots.release()

    def allow(self, request: Any, seconds: float) -> None:
        """Hang up on this request once `seconds` are over. The thread that serves it."""
        old = self._watchdogs.get(request)
        watchdog = threading.Timer(seconds, hang_up, (request,))
        watchdog.daemon = True
        self._watchdogs[request] = watchdog
        watchdog.start()
        if old is not None:
            old.cancel()

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
            case path if path.startswith("/v1/"):
                self._carry_out("GET", path)
            case _:
                self._answer(404, "text/plain; charset=utf-8", "try /status, /metrics, /health or /v1/members\n")

    def do_POST(self) -> None:
        """Carry out what is asked for."""
        self._carry_out("POST", self.path.partition("?")[0])

    def _carry_out(self, method: str, path: str) -> None:
        try:
            body = self._body() if method == "POST" else b""
            self._check_origin()
            self._check_token()
            answer = self._operation(method, path, body)
        except TenureError as error:
            self._answer_error(error)
        except Exception:
            logger.exception("%s %s failed", method, path)
            self._answer_json(500, {"error": {"code": "error", "message": "see the log", "retryable": False}})
        else:
            self._answer_json(200, answer)

    def _operation(self, method: str, path: str, body: bytes) -> Mapping[str, Any]:
        if path in ("/status", "/metrics", "/health"):
            raise wire.HttpRefusal(f"{method} is not for {path}", http_code="method_not_allowed")
        control = self.server.control
        if control is None:
            raise wire.HttpRefusal("this endpoint only tells", http_code="not_found")
        asked: dict[str, Callable[[], Mapping[str, Any]]] = {
            "/v1/members": control.members,
            "/v1/cluster": control.cluster,
        }
        ordered: dict[str, Callable[[Mapping[str, Any], str], Mapping[str, Any]]] = {
            "/v1/members": control.change_members,
            "/v1/transfer-leader": control.transfer_leader,
            "/v1/snapshot": control.take_snapshot,
        }
        if method == "GET" and path in asked:
            return asked[path]()
        if method == "POST" and path in ordered:
            self._check_media_type()
            request = wire.parse_body(body)
            self.server.allow(self.connection, wire.timeout_of(request) + REQUEST_S)
            return ordered[path](request, self.client_address[0])
        known = path in asked or path in ordered
        raise wire.HttpRefusal(
            f"{method} is not for {path}" if known else f"there is no {path}",
            http_code="method_not_allowed" if known else "not_found",
        )

    def _body(self) -> bytes:
        """The body, which is read before anything is refused: a client that still sends would miss the answer."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") is not None or not (length.isascii() and length.isdigit()):
            raise wire.HttpRefusal("Content-Length is needed", http_code="length_required")
        if len(length) > 12 or int(length) > wire.MAX_BODY_BYTES:
            raise TooLarge("the body is too large", size_bytes=int(length[:12]), limit_bytes=wire.MAX_BODY_BYTES)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise InvalidArgument("the body is shorter than it says", field="body")
        return body

    def _check_origin(self) -> None:
        site = self.headers.get("Sec-Fetch-Site", "none")
        if self.headers.get("Origin") is not None or site != "none":
            raise wire.HttpRefusal("web pages have no business here", http_code="forbidden")

    def _check_media_type(self) -> None:
        if self.headers.get_content_type() != "application/json" or "Content-Type" not in self.headers:
            raise wire.HttpRefusal("wants Content-Type: application/json", http_code="unsupported_media_type")

    def _check_token(self) -> None:
        wanted = self.server.token
        if wanted is None:
            return
        scheme, _, shown = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(errors="replace"), wanted):
            raise Unauthorized("a bearer token is needed: Authorization: Bearer ...")

    def _answer_error(self, error: TenureError) -> None:
        control = self.server.control
        leader, admin = (None, None)
        if isinstance(error, NotLeader) and control is not None:
            leader, admin = control.leader_hint(error)
        status = 307 if admin is not None else wire.http_status(error)
        location = {} if admin is None else {"Location": f"http://{admin}{self.path}"}
        challenge = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
        self._answer_json(status, wire.error_json(error, leader=leader, admin=admin), location | challenge)

    def _answer_json(self, code: int, answer: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._answer(code, "application/json", json.dumps(answer, separators=(",", ":")) + "\n", headers)

    def _answer(self, code: int, content_type: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Requests are logged for who asks for it."""
        logger.debug(format, *args)
