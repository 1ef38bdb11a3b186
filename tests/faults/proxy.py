"""A network between members that can be held up: one small proxy for each directed pair (who dials, who is dialled).

Bytes are forwarded in order and unchanged; a link that is held keeps them (as a slow network does) until it is let go.
What goes to a member and what comes from it can be held separately. Connections end when either side ends.

The proxies run in threads of the test's process; they own their sockets, know nothing of what flows, and end with
`close`.
"""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK_BYTES = 64 << 10


class Link:
    """Forwards connections that `dialler` makes to `target`."""

    def __init__(self, network: Network, dialler: int, target: int, port: int, listen_port: int) -> None:
        self.network = network
        self.dialler = dialler
        self.target = target
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", listen_port), backlog=16)
        threading.Thread(target=self.accept, daemon=True, name=f"link {dialler}-{target}").start()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self.network.remember(near, far):
                return
            ended: list[socket.socket] = []
            for source, sink, sender, receiver in (
                (near, far, self.dialler, self.target),
                (far, near, self.target, self.dialler),
            ):
                threading.Thread(target=self.pump, args=(source, sink, sender, receiver, ended), daemon=True).start()

    def pump(
        self, source: socket.socket, sink: socket.socket, sender: int, receiver: int, ended: list[socket.socket]
    ) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                if not self.network.wait_open(sender, receiver):
                    break
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self.network.changed:
            ended.append(source)
            last = len(ended) == 2
        if last:  # the other way uses neither any more: a number that is closed under it may be somebody else's
            self.network.forget(source)
            self.network.forget(sink)


class Network:
    """All links of a cluster."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.held: set[tuple[int, int]] = set()
        self.closed = False
        self.links: list[Link] = []
        self.sockets: set[socket.socket] = set()

    def add(self, dialler: int, target: int, port: int, listen_port: int) -> None:
        self.links.append(Link(self, dialler, target, port, listen_port))

    def hold(self, *pairs: tuple[int, int]) -> None:
        """From now on nothing that `sender` sends reaches `receiver`."""
        with self.changed:
            self.held.update(pairs)

    def let_go(self, *pairs: tuple[int, int]) -> None:
        """What was held is delivered now; without pairs: everything."""
        with self.changed:
            self.held.difference_update(pairs or set(self.held))
            self.changed.notify_all()

    def wait_open(self, sender: int, receiver: int) -> bool:
        with self.changed:
            self.changed.wait_for(lambda: self.closed or (sender, receiver) not in self.held)
            return not self.closed

    def remember(self, *sockets: socket.socket) -> bool:
        with self.changed:
            if not self.closed:
                self.sockets.update(sockets)
                return True
        for one in sockets:
            one.close()
        return False

    def forget(self, one: socket.socket) -> None:
        with self.changed:
            self.sockets.discard(one)
        one.close()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()
            sockets = list(self.sockets)
        for link in self.links:
            with contextlib.suppress(OSError):
                link.listener.shutdown(socket.SHUT_RDWR)
            link.listener.close()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
