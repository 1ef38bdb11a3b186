"""A client that shows replies as they stand on the wire: `Error` for errors, `Status` for simple strings."""

from __future__ import annotations

import socket


class Status(bytes):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"+{self.decode()}"

    def __eq__(self, other: object) -> bool:
        return type(other) is Status and bytes(self) == bytes(other)

    __hash__ = bytes.__hash__


class Error(Status):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"-{self.decode()}"

    def __eq__(self, other: object) -> bool:
        return type(other) is Error and bytes(self) == bytes(other)

    __hash__ = bytes.__hash__


def encode(*arguments: bytes | str | int) -> bytes:
    out = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        text = argument if isinstance(argument, bytes) else str(argument).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(text), text))
    return b"".join(out)


class Wire:
    def __init__(self, port: int, timeout_s: float = 20) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def call(self, *arguments: bytes | str | int) -> object:
        self.send(encode(*arguments))
        return self.reply()

    def reply(self) -> object:
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(line)
        mark, rest = line[:1], line[1:-2]
        if mark == b"+":
            return Status(rest)
        if mark == b"-":
            return Error(rest)
        if mark == b":":
            return int(rest)
        if mark == b"_":
            return None
        if mark in (b"$", b"="):
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if mark in (b"*", b"~"):
            return None if int(rest) < 0 else [self.reply() for _ in range(int(rest))]
        if mark == b"%":
            return {bytes(self.reply()): self.reply() for _ in range(int(rest))}  # type: ignore[call-overload]
        raise AssertionError(line)
