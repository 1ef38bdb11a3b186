"""Requests and replies of the Redis protocol, well-formed, in pieces, and hostile."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenure._net.resp import ProtocolError, RequestParser, encode_reply, format_integer, parse_integer

requests = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=6), max_size=6)


def encode(request: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in request)


def feed_in_pieces(parser: RequestParser, data: bytes, cuts: list[int]) -> list[list[bytes]]:
    found, begin = [], 0
    for end in [*sorted(c % (len(data) + 1) for c in cuts), len(data)]:
        found += parser.feed(data[begin:end])
        begin = end
    return found


@given(requests, st.lists(st.integers(0, 10000), max_size=8))
def test_what_was_encoded_is_parsed_however_it_is_cut(wanted: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(map(encode, wanted))
    assert feed_in_pieces(RequestParser(), data, cuts) == wanted


@given(requests)
def test_byte_by_byte(wanted: list[list[bytes]]) -> None:
    parser, found = RequestParser(), []
    for byte in b"".join(map(encode, wanted)):
        found += parser.feed(bytes([byte]))
    assert found == wanted


words = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=0, max_size=12), min_size=1)


@given(words)
def test_quoted_lines_of_words(wanted: list[str]) -> None:
    def quote(word: str) -> str:
        return '"' + "".join(c if c.isalnum() else f"\\x{ord(c):02x}" for c in word) + '"'

    line = " ".join(map(quote, wanted)) + "\r\n"
    assert RequestParser().feed(line.encode()) == [[w.encode() for w in wanted]]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"PING\r\n", [[b"PING"]]),
        (b"PING\n", [[b"PING"]]),
        (b"  SET  a\t b \r\n", [[b"SET", b"a", b"b"]]),
        (b"SET a 'it\\'s' \"\\n\\x41\\q\"\r\n", [[b"SET", b"a", b"it's", b"\nAq"]]),
        (b'SET a"b" c\r\n', [[b"SET", b"ab", b"c"]]),
        (b"\r\n", [[]]),
        (b"*0\r\n*-1\r\nPING\r\n", [[], [], [b"PING"]]),
        (b"SET '' x\r\n", [[b"SET", b"", b"x"]]),
    ],
)
def test_lines(line: bytes, wanted: list[list[bytes]]) -> None:
    assert RequestParser().feed(line) == wanted


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 70000, "too big mbulk count string"),
        (b"*1\r\nx3\r\n", "expected '$', got 'x'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$a\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$" + b"1" * 70000, "too big bulk count string"),
        (b"GET 'a\r\n", "unbalanced quotes in request"),
        (b'GET "a"b\r\n', "unbalanced quotes in request"),
        (b"x" * 70000, "too big inline request"),
    ],
)
def test_faults(data: bytes, error: str) -> None:
    for cuts in ([], [1], [len(data) // 2], list(range(min(len(data), 40)))):
        with pytest.raises(ProtocolError) as caught:
            feed_in_pieces(RequestParser(), data, cuts)
        assert str(caught.value) == f"Protocol error: {error}"


@pytest.mark.parametrize(("begin", "end"), [(b"*", b"\r\n"), (b"*1\r\n$", b"\r\n"), (b"", b"\r\n"), (b"", b"\n")])
@pytest.mark.parametrize("size", range(65533, 65539))
def test_a_line_is_too_long_however_it_is_cut(begin: bytes, end: bytes, size: int) -> None:
    data = begin + b"x" * size + end
    answers = set()
    for cut in range(len(data) - 4, len(data) + 1):
        try:
            answers.add(repr(feed_in_pieces(RequestParser(), data, [cut])))
        except ProtocolError as error:
            answers.add(str(error))
    assert len(answers) == 1


def test_requests_before_a_fault_are_kept() -> None:
    with pytest.raises(ProtocolError) as caught:
        RequestParser().feed(b"PING\r\n*1\r\n$2\r\nab\r\n*1\r\n!")
    assert caught.value.requests == [[b"PING"], [b"ab"]]


def test_limits() -> None:
    parser = RequestParser(arguments=2, argument_bytes=10, request_bytes=40)
    assert parser.feed(encode([b"a", b"b" * 10])) == [[b"a", b"b" * 10]]
    with pytest.raises(ProtocolError, match="invalid multibulk length"):
        parser.feed(b"*3\r\n")
    with pytest.raises(ProtocolError, match="invalid bulk length"):
        RequestParser(argument_bytes=10).feed(b"*1\r\n$11\r\n")
    with pytest.raises(ProtocolError, match="too large"):
        RequestParser(argument_bytes=10, request_bytes=20).feed(encode([b"a" * 10, b"b" * 10]))
    with pytest.raises(ProtocolError, match="invalid multibulk length"):
        RequestParser(arguments=2).feed(b"a b c\r\n")


def test_who_has_not_shown_a_password_is_held_shorter() -> None:
    with pytest.raises(ProtocolError, match="unauthenticated multibulk length"):
        RequestParser(authenticated=False).feed(b"*11\r\n")
    with pytest.raises(ProtocolError, match="unauthenticated bulk length"):
        RequestParser(authenticated=False).feed(b"*1\r\n$16385\r\n")
    assert RequestParser(authenticated=False).feed(encode([b"a"] * 10)) == [[b"a"] * 10]


@given(st.lists(st.binary(max_size=30), max_size=6))
@example([b"*1\r\n$3\r\nab"])
@example([b'"\\x4', b'1"\r\n'])
@example([b"*1\r", b"\n$1\r", b"\na\r", b"\n"])
def test_any_bytes_give_the_same_requests_however_they_come(pieces: list[bytes]) -> None:
    def run(chunks: list[bytes]) -> tuple[list[list[bytes]], str | None]:
        parser, found = RequestParser(), []
        for chunk in chunks:
            try:
                found += parser.feed(chunk)
            except ProtocolError as error:
                return found + error.requests, str(error)
        return found, None

    data = b"".join(pieces)
    assert run([data]) == run(pieces) == run([bytes([b]) for b in data])


@given(st.text(st.sampled_from("*$0123456789-\r\n \"'\\xab"), max_size=60))
def test_near_misses_never_raise_anything_else(text: str) -> None:
    try:
        found = RequestParser().feed(text.encode())
    except ProtocolError:
        return
    assert all(isinstance(a, bytes) for request in found for a in request)


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1), st.text(max_size=5))
def test_simple_lines_split_like_a_shell(first: str, second: str) -> None:
    line = f"{first} {shlex.quote(first)}"
    assert RequestParser().feed(line.encode() + b"\n") == [[first.encode(), first.encode()]]


@given(st.integers(-(2**63), 2**63 - 1))
@example(0)
@example(-(2**63))
@example(2**63 - 1)
def test_integers(value: int) -> None:
    assert format_integer(value) == b"%d" % value
    assert parse_integer(b"%d" % value) == value


@pytest.mark.parametrize(
    "text",
    [b"", b"-", b"+1", b"01", b"-0", b"-01", b" 1", b"1 ", b"1.0", b"9223372036854775808", b"-9223372036854775809"],
)
def test_what_is_no_integer(text: bytes) -> None:
    assert parse_integer(text) is None


@pytest.mark.parametrize(
    ("value", "resp2", "resp3"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (-5, b":-5\r\n", b":-5\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        ("OK", b"+OK\r\n", b"+OK\r\n"),
        ("-ERR a\r\nb", b"-ERR a  b\r\n", b"-ERR a  b\r\n"),
        ({b"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        (frozenset({1}), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
        ([b"a", [], None], b"*3\r\n$1\r\na\r\n*0\r\n$-1\r\n", b"*3\r\n$1\r\na\r\n*0\r\n_\r\n"),
    ],
)
def test_replies(value: object, resp2: bytes, resp3: bytes) -> None:
    assert encode_reply(value, 2) == resp2
    assert encode_reply(value, 3) == resp3
