"""The same commands against redis-server and against a member: every reply is equal."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .wire import Error, Wire, encode

if TYPE_CHECKING:
    from .cluster import Cluster

KEYS = [b"a", b"b", b"c", b"", b"\x00\r\n"]
keys = st.sampled_from(KEYS)
numbers = st.sampled_from(
    [
        b"0",
        b"1",
        b"-1",
        b"7",
        b"10",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"9223372036854775808",
        b"1.5",
        b"x",
        b"",
        b" 1",
        b"01",
        b"+1",
        b"-0",
    ]
)
values = st.one_of(numbers, st.binary(max_size=20), st.sampled_from([b"x" * 1000]))
# Lives that cannot end while a test runs, instants long past, and what is no life at all.
lives = st.sampled_from(
    [
        b"1000",
        b"100000",
        b"0",
        b"-1",
        b"-100",
        b"x",
        b"1.0",
        b"9223372036854775807",
        b"9223372036854775",
        b"9223372036854776",
        b"-9223372036854775808",
        b"9223372036854775808",
        b"",
    ]
)
life_words = st.sampled_from([b"EX", b"px", b"ExAt", b"PXAT"])
set_option = st.one_of(
    st.sampled_from([[b"NX"], [b"xx"], [b"GET"], [b"KEEPTTL"], [b"bogus"], [b"EX"]]),
    st.tuples(life_words, lives).map(list),
)


def command(name: str, *parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.tuples(st.just(name.encode()), *parts).map(list)


def listed(name: str, part: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(part, max_size=4).map(lambda parts: [name.encode(), *parts])


expiry_options = st.lists(st.sampled_from([b"NX", b"xx", b"GT", b"Lt", b"bogus"]), max_size=3)


def expiring(name: str) -> st.SearchStrategy[list[bytes]]:
    return st.tuples(keys, lives, expiry_options).map(lambda t: [name.encode(), t[0], t[1], *t[2]])


commands = st.one_of(
    command("GET", keys),
    command("set", keys, values),
    st.tuples(keys, values, st.lists(set_option, max_size=3)).map(
        lambda t: [b"SET", t[0], t[1], *itertools.chain(*t[2])]
    ),
    command("SETNX", keys, values),
    command("SETEX", keys, lives, values),
    command("PSETEX", keys, lives, values),
    command("GETSET", keys, values),
    command("GETDEL", keys),
    listed("MGET", keys),
    listed("MSET", keys),
    listed("DEL", keys),
    listed("UNLINK", keys),
    listed("EXISTS", keys),
    command("STRLEN", keys),
    command("APPEND", keys, values),
    command("INCR", keys),
    command("DECR", keys),
    command("INCRBY", keys, numbers),
    command("DECRBY", keys, numbers),
    command("GETRANGE", keys, numbers, numbers),
    expiring("EXPIRE"),
    expiring("PEXPIRE"),
    expiring("EXPIREAT"),
    expiring("PEXPIREAT"),
    command("TTL", keys),
    command("PERSIST", keys),
    command("EXPIRETIME", keys),
    command("TYPE", keys),
    command("DBSIZE"),
    listed("FLUSHALL", st.sampled_from([b"ASYNC", b"sync", b"x"])),
    command("FLUSHDB"),
    command("ECHO", values),
    listed("PING", values),
    command("SELECT", st.sampled_from([b"0", b"x", b"-1", b"99", b"99999999999"])),
    command("SETRANGEX", keys),
    st.lists(values, min_size=1, max_size=5),
    st.tuples(
        st.sampled_from([b"get", b"set", b"incr", b"mget", b"append", b"ttl", b"strlen"]), st.lists(values, max_size=4)
    ).map(lambda t: [t[0], *t[1]]),
)


def comparable(request: list[bytes], reply: object) -> object:
    """Clocks differ by what a test takes; the instants that come of a life do too."""
    name = request[0].upper() if request else b""
    if name in (b"TTL", b"EXPIRETIME") and isinstance(reply, int) and reply > 0:
        return round(reply, -1)
    return reply


def run(port: int, requests: list[list[bytes]], pipelined: bool) -> list[object]:
    with Wire(port) as wire:
        wire.call("FLUSHALL")
        if pipelined:
            wire.send(b"".join(encode(*r) for r in requests))
            return [wire.reply() for _ in requests]
        return [wire.call(*r) for r in requests]


@pytest.mark.timeout(300)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(requests=st.lists(commands, min_size=1, max_size=25), pipelined=st.booleans())
def test_replies_are_those_of_redis(
    shared: Cluster, redis_server: int, requests: list[list[bytes]], pipelined: bool
) -> None:
    ours = run(shared.leader().port, requests, pipelined)
    theirs = run(redis_server, requests, pipelined)
    for request, mine, his in zip(requests, ours, theirs, strict=True):
        assert comparable(request, mine) == comparable(request, his), request


@pytest.mark.timeout(120)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(requests=st.lists(commands, min_size=1, max_size=12), pipelined=st.booleans())
def test_a_follower_replies_the_same(
    shared: Cluster, redis_server: int, requests: list[list[bytes]], pipelined: bool
) -> None:
    ours = run(shared.follower().port, requests, pipelined)
    theirs = run(redis_server, requests, pipelined)
    for request, mine, his in zip(requests, ours, theirs, strict=True):
        assert comparable(request, mine) == comparable(request, his), request


CONNECTION = [
    [b"AUTH", b"x"],
    [b"AUTH", b"a", b"b", b"c"],
    [b"AUTH", b"other", b"x"],
    [b"AUTH", b"default", b"anything"],
    [b"CLIENT"],
    [b"CLIENT", b"nonsense"],
    [b"CLIENT", b"GETNAME"],
    [b"CLIENT", b"GETNAME", b"x"],
    [b"CLIENT", b"SETNAME", b"a b"],
    [b"CLIENT", b"SETNAME", b"me"],
    [b"client", b"getname"],
    [b"CLIENT", b"SETNAME", b""],
    [b"CLIENT", b"GETNAME"],
    [b"CLIENT", b"NO-EVICT", b"on"],
    [b"CLIENT", b"NO-EVICT", b"x"],
    [b"CONFIG", b"nonsense"],
    [b"CONFIG", b"GET"],
    [b"CONFIG", b"GET", b"SAVE"],
    [b"CONFIG", b"GET", b"nothing-like-it"],
    [b"CONFIG", b"SET", b"a"],
    [b"CONFIG", b"RESETSTAT"],
    [b"COMMAND", b"nonsense"],
    [b"COMMAND", b"COUNT", b"x"],
    [b"COMMAND", b"INFO", b"nonsense"],
    [b"HELLO", b"4"],
    [b"HELLO", b"x"],
    [b"HELLO", b"2", b"what"],
    [b"HELLO", b"2", b"AUTH", b"other", b"x"],
    [b"HELLO", b"3", b"SETNAME", b"a b"],
    [b"SELECT", b"0"],
    [b"FLUSHALL", b"a", b"b"],
    [b"EXPIRE", b"a", b"10", b"bogus"],
    [b"EXPIRE", b"a", b"x", b"bogus"],
    [b"EXPIRE", b"a", b"x", b"NX", b"GT"],
    [b"EXPIRE", b"a", b"10", b"GT", b"LT"],
    [b"EXPIRE", b"a", b"10", b"XX", b"LT", b"GT", b"NX"],
    [b"EXPIRE", b"a", b"10", b"NX", b"NX"],
    [b"GET", b"none"],
    [b"QUIT"],
]


def test_connection_commands(shared: Cluster, redis_server: int) -> None:
    with Wire(shared.leader().port) as ours, Wire(redis_server) as theirs:
        for request in CONNECTION:
            assert ours.call(*request) == theirs.call(*request), request


def test_resp3(shared: Cluster, redis_server: int) -> None:
    with Wire(shared.leader().port) as ours, Wire(redis_server) as theirs:
        mine, his = ours.call("HELLO", 3), theirs.call("HELLO", 3)
        assert isinstance(mine, dict)
        assert isinstance(his, dict)
        assert mine.keys() == his.keys()
        assert mine[b"proto"] == 3
        for request in (
            [b"GET", b"none"],
            [b"MGET", b"none", b"none"],
            [b"CONFIG", b"GET", b"save"],
            [b"TTL", b"none"],
        ):
            ours.send(encode(*request))
            theirs.send(encode(*request))
            assert ours.reply() == theirs.reply()


BROKEN = [
    b"*1\r\n$-5\r\n",
    b"*1\r\n!4\r\nPING\r\n",
    b"*x\r\n",
    b"*1\r\n$99999999999\r\n",
    b"GET 'a\r\n",
    b"*" + b"1" * 66000,
    b"x" * 66000,
]


@pytest.mark.parametrize("data", BROKEN)
def test_broken_requests_are_told_so_and_cut_off(shared: Cluster, redis_server: int, data: bytes) -> None:
    replies = []
    for port in (shared.leader().port, redis_server):
        with Wire(port) as wire:
            wire.send(b"PING\r\n" + data)
            replies.append([wire.reply(), wire.reply()])
            with pytest.raises((EOFError, ConnectionResetError)):
                wire.reply()
    assert replies[0] == replies[1]
    assert type(replies[0][1]) is Error
