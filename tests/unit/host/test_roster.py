"""The roster of addresses: what wins, what it looks like as bytes, and what is no roster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure._host.roster import RosterError, RosterView

Facts = list[tuple[int, int, bytes]]
ADDRESSES = [b"127.0.0.1:1", b"[::1]:7000", b"10.0.0.9:65535"]
facts = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4), st.sampled_from(ADDRESSES)), max_size=12).map(
    lambda found: list({(id, index): (id, index, address) for id, index, address in found}.values())
)


def roster(known: Facts) -> RosterView:
    view = RosterView()
    for fact in known:
        view.set(*fact)
    return view


def test_what_a_later_entry_says_wins() -> None:
    view = RosterView()
    assert view.set(1, 5, b"127.0.0.1:1")
    assert not view.set(1, 4, b"127.0.0.1:2")
    assert not view.set(1, 5, b"127.0.0.1:3")
    assert view.set(1, 6, b"127.0.0.1:4")
    assert view.entries() == [(1, 6, "127.0.0.1:4")]


@given(facts, facts)
def test_hosts_that_exchange_rosters_agree(ours: Facts, theirs: Facts) -> None:
    conflict = {(id, index) for id, index, _ in ours} & {(id, index) for id, index, _ in theirs}
    theirs = [fact for fact in theirs if fact[:2] not in conflict]  # one entry of the log says one thing
    one, other = roster(ours), roster(theirs)
    sent = one.encode()
    one.merge(other.encode())
    other.merge(sent)
    assert one.entries() == other.entries() == roster(ours + theirs).entries()
    assert not one.merge(other.encode())


@given(facts, st.data())
def test_bytes_cut_short_or_changed_are_refused_or_harmless(known: Facts, data: st.DataObject) -> None:
    whole = roster(known).encode()
    with pytest.raises(RosterError):
        RosterView().merge(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(RosterError):
        RosterView().merge(whole + b"x")
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    view = RosterView()
    try:
        view.merge(changed)
    except RosterError:
        assert view.entries() == []
    for id, _, _ in view.entries():
        assert 0 < view.split(id)[1] < 65536


@pytest.mark.parametrize(
    "address",
    [
        b"",
        b":",
        b"host",
        b":80",
        b"h:",
        b"h:0",
        b"h:65536",
        b"h:1a",
        b"h:123456",
        b"[]:1",
        b"[::1:1",
        b"h\0:1",
        b"x" * 64 + b":1",
    ],
)
def test_what_is_no_address_is_refused(address: bytes) -> None:
    view = RosterView()
    with pytest.raises(RosterError):
        view.set(1, 0, address)
    assert view.entries() == []


@pytest.mark.parametrize(
    ("address", "split"), [(b"127.0.0.1:80", ("127.0.0.1", 80)), (b"[fe80::2]:7000", ("fe80::2", 7000))]
)
def test_an_address_is_split(address: bytes, split: tuple[str, int]) -> None:
    assert roster([(3, 0, address)]).split(3) == split


def test_too_many_members_are_refused() -> None:
    view = roster([(id, 0, b"127.0.0.1:1") for id in range(1, 257)])
    with pytest.raises(RosterError):
        view.set(257, 0, b"127.0.0.1:1")
    assert len(view.entries()) == 256
