"""Strategies for sequences of commands that meet the same few keys often."""

from __future__ import annotations

from hypothesis import strategies as st

KEYS = [b"", b"a", b"b", b"counter", b"\x00\xff", b"key:" + b"k" * 60, *(b"%d" % i for i in range(6))]
keys = st.sampled_from(KEYS)
values = st.one_of(
    st.sampled_from([b"", b"x", b"0", b"-0", b"007", b"+1", b" 1", b"9223372036854775807", b"-9223372036854775808"]),
    st.sampled_from([b"9223372036854775808", b"-9223372036854775809", b"12345678901234567890", b"-", b"v" * 1025]),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n),
    st.binary(max_size=40),
)
instants = st.integers(1, 60)  # milliseconds; hints move through the same range
deltas = st.one_of(st.integers(-3, 3), st.sampled_from([2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))


@st.composite
def set_options(draw):
    options = {"get": draw(st.booleans()), **draw(st.sampled_from([{}, {"nx": True}, {"xx": True}]))}
    return options | draw(st.one_of(st.just({}), st.just({"keepttl": True}), instants.map(lambda ms: {"until_ms": ms})))


def call(name, *arguments, options=None):
    return st.tuples(st.just(name), st.tuples(*arguments), st.just({}) if options is None else options)


expiry_options = st.sampled_from(
    [{}, {}, {"nx": True}, {"xx": True}, {"gt": True}, {"lt": True}, {"xx": True, "gt": True}, {"xx": True, "lt": True}]
)
cas_options = st.one_of(st.just({}), st.just({"keepttl": True}), instants.map(lambda ms: {"until_ms": ms}))
single = st.one_of(
    call("set", keys, values, options=set_options()),
    call("set", keys, values, options=instants.map(lambda ms: {"until_ms": ms})),
    call("getset", keys, values),
    call("setnx", keys, values),
    call("getdel", keys),
    call("delete", st.lists(keys, min_size=1, max_size=4)),
    call("collect", st.lists(keys, min_size=1, max_size=4)),
    call("mset", st.lists(st.tuples(keys, values), min_size=1, max_size=4)),
    call("append", keys, values),
    call("incrby", keys, deltas),
    call("cas", keys, st.one_of(st.none(), values), values, options=cas_options),
    call("expireat", keys, instants, options=expiry_options),
    call("persist", keys),
    call("flushall"),
)
batches = call("batch", st.lists(single, min_size=1, max_size=5))
hints = st.builds(lambda ms, counter: ms << 16 | counter, st.integers(0, 60), st.integers(0, 3))
sequences = st.lists(st.tuples(hints, st.one_of(single, single, single, batches)), max_size=40)
