"""What the transport's tests share: endpoints that know each other, and peers made of a bare socket."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from tenure._net.endpoint import Endpoint, encode_message
from tenure._net.frame import TYPES, build, parse
from tenure._net.handshake import build_hello, parse_hello, parse_refused
from tenure._raft.node import Entry, Message

CLUSTER = b"one test cluster"
LARGE = 1 << 30
PATIENCE_S = 20.0


def endpoint(id: int, **options) -> Endpoint:
    return Endpoint(id, **{"cluster_id": CLUSTER, **options})


def introduce(*endpoints: Endpoint, address: str = "127.0.0.1") -> None:
    """Make everybody a peer of everybody."""
    for one in endpoints:
        for other in endpoints:
            if one is not other:
                one.add_peer(other.id, address, other.port)


def pump_until(condition: Callable[[], object], *endpoints: Endpoint, patience_s: float = PATIENCE_S) -> None:
    """Drive the endpoints until the condition holds; fail when it never does."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        for one in endpoints:
            one.pump(1)


def pump_for(seconds: float, *endpoints: Endpoint) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for one in endpoints:
            one.pump(1)


def connected(*endpoints: Endpoint) -> bool:
    """Whether each is connected to every other."""
    return all(one.statistics(other.id)["connected"] for one in endpoints for other in endpoints if one is not other)


def mesh(*endpoints: Endpoint) -> None:
    """Introduce and connect."""
    introduce(*endpoints)
    pump_until(lambda: connected(*endpoints), *endpoints)


def heartbeat(from_: int, to: int, term: int = 1, **fields) -> Message:
    return Message("MsgHeartbeat", from_=from_, to=to, term=term, **fields)


def append(from_: int, to: int, payload: bytes, index: int = 1) -> Message:
    return Message("MsgApp", from_=from_, to=to, term=1, index=index - 1, entries=[Entry(1, index, payload)])


def message_frame(message: Message, group: int = 0) -> bytes:
    return build(TYPES["message"], group, encode_message(message))


def hello_frame(type: str = "hello", **changes) -> bytes:
    fields = {"cluster_id": CLUSTER, "from_": 2, "to": 1, "start_counter": 1, "nonce": 77}
    return build(TYPES[type], 0, build_hello(**{**fields, **changes}))


class RawPeer:
    """One connection without a transport behind it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE_S)
        self.unparsed = b""
        self.ended = False

    @classmethod
    def dial(cls, target: Endpoint) -> RawPeer:
        return cls(socket.create_connection(("127.0.0.1", target.port)))

    @classmethod
    def shaken(cls, target: Endpoint, **hello) -> RawPeer:
        """A connection that `target` welcomed."""
        peer = cls.dial(target)
        peer.send(hello_frame(**hello))
        pump_until(peer.read_frames, target)
        assert not peer.ended
        return peer

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, most: int = 1 << 20) -> bytes:
        """What is there now, without waiting."""
        self.socket.setblocking(False)
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return b""
        except ConnectionError:
            data = b""
        finally:
            self.socket.settimeout(PATIENCE_S)
        self.ended = self.ended or not data
        return data

    def read_frames(self, most: int = 1 << 20) -> list[tuple[str, int, bytes]]:
        """(type, group, payload) of each frame that is whole by now."""
        self.unparsed += self.read(most)
        frames = []
        while self.unparsed:
            result, size, type, group, payload = parse(self.unparsed, LARGE)
            if result == "incomplete":
                break
            assert result == "whole"
            frames.append((next(name for name, number in TYPES.items() if number == type), group, payload))
            self.unparsed = self.unparsed[size:]
        return frames

    def at_end(self) -> bool:
        self.read()
        return self.ended

    def refusal(self, target: Endpoint) -> str | None:
        """The code that `target` refuses with; the connection must end right behind it."""
        frames: list[tuple[str, int, bytes]] = []
        pump_until(lambda: frames.extend(self.read_frames()) or self.ended, target)
        ((type, _, payload),) = frames
        assert type == "refused"
        return parse_refused(payload)

    def close(self) -> None:
        self.socket.close()

    __del__ = close


class RawHost:
    """A listening socket that an endpoint takes for its peer."""

    def __init__(self, id: int = 2) -> None:
        self.id = id
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]

    def accept(self, dialler: Endpoint) -> RawPeer:
        """The next connection that `dialler` opens."""
        accepted: list[RawPeer] = []

        def try_accept() -> bool:
            with contextlib.suppress(BlockingIOError):
                accepted.append(RawPeer(self.socket.accept()[0]))
            return bool(accepted)

        pump_until(try_accept, dialler)
        return accepted[0]

    def accept_hello(self, dialler: Endpoint) -> tuple[RawPeer, dict]:
        peer = self.accept(dialler)
        frames: list[tuple[str, int, bytes]] = []
        pump_until(lambda: frames.extend(peer.read_frames()) or frames, dialler)
        ((type, _, payload),) = frames
        assert type == "hello"
        hello = parse_hello(payload)
        assert hello is not None
        return peer, hello

    def welcome(self, dialler: Endpoint, **changes) -> RawPeer:
        """Accept and shake hands."""
        peer, hello = self.accept_hello(dialler)
        peer.send(hello_frame("welcome", **{"from_": self.id, "to": hello["from_"], **changes}))
        pump_until(lambda: dialler.statistics(self.id)["connected"], dialler)
        return peer

    def close(self) -> None:
        self.socket.close()

    __del__ = close
