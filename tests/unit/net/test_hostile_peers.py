"""Strangers, liars and impostors: each is turned away for a reason that is counted, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import struct

import pytest

from tenure._net.endpoint import Endpoint, encode_message
from tenure._net.frame import TYPES, build
from tenure._raft.node import Message
from unit.net.network import (
    CLUSTER,
    RawHost,
    RawPeer,
    append,
    connected,
    endpoint,
    heartbeat,
    hello_frame,
    introduce,
    mesh,
    message_frame,
    pump_for,
    pump_until,
)

DEADLINE_NS = 100_000_000


def host() -> Endpoint:
    """Host 1, which knows member 2 and cannot reach it."""
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    return one


def closed(one: Endpoint, reason: str) -> int:
    return one.totals()["closed"].get(reason, 0)


def with_bad_checksum(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


# ---- bytes


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_magic"),
        (b"\x00", "bad_magic"),
        (b"TNRE\x07" + bytes(30), "bad_version"),
        (build(9, 0, b""), "bad_type"),
        (b"TNRE\x01\x01\x01\x00" + bytes(30), "bad_flags"),
        (b"TNRE\x01\x01\x00\x00" + bytes(4) + struct.pack("<I", 1000) + bytes(4), "bad_length"),
        (with_bad_checksum(hello_frame()), "bad_checksum"),
        (build(TYPES["hello"], 0, b"short"), "bad_message"),
        (build(TYPES["welcome"], 0, bytes(56)), "unexpected"),
        (message_frame(heartbeat(2, 1)), "unexpected"),
    ],
    ids=range(10),
)
def test_a_stranger_who_does_not_say_hello_is_cut_off(data: bytes, reason: str) -> None:
    one = host()
    peer = RawPeer.dial(one)
    peer.send(data)
    pump_until(peer.at_end, one)
    assert closed(one, reason) == 1
    assert one.totals()["unauthenticated"] == 0
    assert one.received() == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"nonsense", "bad_magic"),
        (build(9, 0, b""), "bad_type"),
        (b"TNRE\x01\x04\x00\x00" + bytes(4) + b"\xff\xff\xff\xff" + bytes(4), "bad_length"),
        (with_bad_checksum(message_frame(heartbeat(2, 1))), "bad_checksum"),
        (build(TYPES["message"], 0, b"no message"), "bad_message"),
        (build(TYPES["message"], 0, encode_message(heartbeat(2, 1)) + b"x"), "bad_message"),
        (hello_frame(), "unexpected"),
        (message_frame(heartbeat(3, 1)), "wrong_sender"),
        (message_frame(heartbeat(2, 3)), "wrong_sender"),
    ],
    ids=range(9),
)
def test_a_peer_that_stops_making_sense_is_cut_off_after_what_made_sense(data: bytes, reason: str) -> None:
    one = host()
    peer = RawPeer.shaken(one)
    peer.send(message_frame(heartbeat(2, 1, term=5)) + data + message_frame(heartbeat(2, 1, term=6)))
    pump_until(peer.at_end, one)
    assert closed(one, reason) == 1
    assert [message.term for _, message, _ in one.received()] == [5]
    RawPeer.shaken(one)  # and may come back


def test_a_long_frame_is_paid_for_only_as_far_as_it_has_come() -> None:
    one = endpoint(1, max_frame_bytes=1 << 30)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.shaken(one)
    peer.send(b"TNRE\x01\x04\x00\x00" + bytes(4) + struct.pack("<I", 1 << 20) + bytes(4) + bytes(1000))
    pump_for(0.02, one)
    assert one.received() == []
    assert one.statistics(2)["received_messages"] == 0
    peer.close()
    pump_until(lambda: closed(one, "end"), one)


def test_random_bytes_never_harm_it() -> None:
    rng = random.Random(8)
    one = host()
    good = [hello_frame(), message_frame(heartbeat(2, 1)), message_frame(append(2, 1, b"abc"))]
    for turn in range(150):
        peer = RawPeer.shaken(one) if turn % 2 else RawPeer.dial(one)
        data = bytearray(b"".join(rng.choice(good) for _ in range(rng.randint(1, 6))))
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(OSError):
            peer.send(bytes(data[: rng.randint(1, len(data))]))
        one.pump(1)
        peer.close()
    one.received()
    peer = RawPeer.shaken(one)
    peer.send(message_frame(heartbeat(2, 1, term=9)))
    got: list = []
    pump_until(lambda: got.extend(one.received()) or got, one)
    assert got[-1][1].term == 9
    pump_until(lambda: one.totals()["unauthenticated"] == 0, one)


def test_what_it_accepted_it_does_not_answer_and_what_it_dialled_it_does_not_obey() -> None:
    one, raw = endpoint(1), RawHost()
    one.add_peer(2, "127.0.0.1", raw.port)
    peer = raw.welcome(one)
    peer.send(message_frame(heartbeat(2, 1)))
    pump_until(lambda: closed(one, "unexpected"), one)
    assert one.received() == []


# ---- handshake


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version_min": 2, "version_max": 9}, "version"),
        ({"version_min": 0, "version_max": 0}, "version"),
        ({"cluster_id": b"another cluster!"}, "cluster"),
        ({"to": 3}, "target"),
        ({"from_": 3}, "member"),
        ({"from_": 1}, "member"),
        ({"from_": 0}, "member"),
    ],
)
def test_a_dialler_is_refused_with_a_code(changes: dict, code: str) -> None:
    one = host()
    peer = RawPeer.dial(one)
    peer.send(hello_frame(**changes))
    assert peer.refusal(one) == code
    assert one.totals()["refused"] == {code: 1}
    assert closed(one, "refused") == 1


def test_a_dialler_that_speaks_more_versions_is_welcome() -> None:
    RawPeer.shaken(host(), version_min=0, version_max=9)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version_min": 2, "version_max": 2}, "version"),
        ({"cluster_id": b"another cluster!"}, "cluster"),
        ({"to": 3}, "target"),
        ({"from_": 3}, "member"),
    ],
)
def test_a_welcome_is_judged_like_a_hello(changes: dict, code: str) -> None:
    one, raw = endpoint(1), RawHost()
    one.add_peer(2, "127.0.0.1", raw.port)
    peer, _ = raw.accept_hello(one)
    peer.send(hello_frame("welcome", **{"from_": 2, "to": 1, **changes}))
    pump_until(lambda: one.totals()["refused"] == {code: 1}, one)
    assert not one.statistics(2)["connected"]
    assert one.statistics(2)["refused_handshakes"] == 1
    raw.accept_hello(one)  # it goes on trying


def test_hosts_of_different_clusters_refuse_each_other() -> None:
    one, two = endpoint(1), endpoint(2, cluster_id=bytes(16))
    introduce(one, two)
    pump_until(lambda: all(host.totals()["refused"] and host.totals()["was_refused"] for host in (one, two)), one, two)
    for host_, other in ((one, two), (two, one)):
        assert set(host_.totals()["refused"]) == set(host_.totals()["was_refused"]) == {"cluster"}
        assert host_.statistics(other.id)["refused_handshakes"] >= 2
        assert not host_.statistics(other.id)["connected"]


# ---- H28: one identity, several processes


def test_h28_a_copied_directory_is_refused_while_the_original_lives() -> None:
    one, original = endpoint(1), endpoint(2, start_counter=5)
    mesh(one, original)
    copy = endpoint(2, start_counter=5)
    copy.add_peer(1, "127.0.0.1", one.port)
    pump_until(lambda: copy.totals()["was_refused"].get("duplicate"), one, original, copy)
    assert one.totals()["refused"]["duplicate"] >= 1
    assert not copy.statistics(1)["connected"]
    assert connected(one, original)
    original.send(heartbeat(2, 1, term=7))
    got: list = []
    pump_until(lambda: got.extend(one.received()) or got, one, original, copy)
    assert got[0][1].term == 7


def test_h28_a_later_start_supersedes_and_the_earlier_one_stays_out() -> None:
    one, earlier = endpoint(1), endpoint(2, start_counter=5)
    mesh(one, earlier)
    later = endpoint(2, start_counter=6)
    later.add_peer(1, "127.0.0.1", one.port)
    pump_until(lambda: earlier.totals()["was_refused"].get("stale"), one, earlier, later)
    assert closed(one, "superseded") == 2  # what was dialled to it and what was accepted from it
    assert one.unreachable() == [2]
    assert not earlier.statistics(1)["connected"]
    assert later.statistics(1)["connected"]
    # at the old address answers the earlier start, which is refused from this side too
    pump_until(lambda: one.totals()["refused"]["stale"] >= 2, one, earlier, later)
    assert not one.statistics(2)["connected"]
    one.set_peer_address(2, "127.0.0.1", later.port)
    pump_until(lambda: connected(one, later), one, later)


def test_h28_a_copy_that_answers_at_the_peers_address_is_not_spoken_to() -> None:
    one, raw = endpoint(1), RawHost()
    one.add_peer(2, "127.0.0.1", raw.port)
    RawPeer.shaken(one, start_counter=5, nonce=1)
    for start_counter, nonce, code in ((5, 2, "duplicate"), (4, 1, "stale")):
        peer, _ = raw.accept_hello(one)
        peer.send(hello_frame("welcome", from_=2, to=1, start_counter=start_counter, nonce=nonce))
        pump_until(lambda code=code: one.totals()["refused"].get(code), one)
        peer.close()
    raw.welcome(one, start_counter=5, nonce=1)


def test_the_same_process_may_dial_again_and_the_latest_connection_counts() -> None:
    one = host()
    first = RawPeer.shaken(one)
    second = RawPeer.shaken(one)
    pump_until(first.at_end, one)
    assert closed(one, "superseded") == 1
    second.send(message_frame(heartbeat(2, 1)))
    pump_until(one.received, one)


def test_a_half_open_connection_gives_way_to_a_new_one() -> None:
    one = host()
    silent = RawPeer.shaken(one)
    silent.send(message_frame(append(2, 1, bytes(500)))[:300])  # and never the rest
    pump_for(0.02, one)
    alive = RawPeer.shaken(one)
    alive.send(message_frame(heartbeat(2, 1, term=8)))
    got: list = []
    pump_until(lambda: got.extend(one.received()) or got, one)
    assert [message.term for _, message, _ in got] == [8]


def test_a_dialler_that_gave_up_does_not_displace_a_living_connection() -> None:
    one = host()
    given_up = RawPeer.dial(one)
    given_up.send(hello_frame())
    given_up.close()  # while the host was busy; its end is there before its HELLO is read
    alive = RawPeer.shaken(one)
    pump_for(0.02, one)
    assert closed(one, "superseded") == 0
    alive.send(message_frame(heartbeat(2, 1)))
    pump_until(one.received, one)


# ---- silence and crowds


def test_a_stranger_who_says_nothing_is_cut_off() -> None:
    one = host()
    one.set_handshake_timeout(DEADLINE_NS)
    silent, slow = RawPeer.dial(one), RawPeer.dial(one)
    slow.send(hello_frame()[:30])
    pump_until(lambda: silent.at_end() and slow.at_end(), one)
    assert closed(one, "timeout") == 2


def test_a_peer_that_accepts_and_never_answers_is_given_up_and_dialled_again() -> None:
    one, raw = endpoint(1), RawHost()
    one.set_handshake_timeout(DEADLINE_NS)
    one.add_peer(2, "127.0.0.1", raw.port)
    for attempt in (1, 2):
        peer, _ = raw.accept_hello(one)
        pump_until(peer.at_end, one)
        assert closed(one, "timeout") == attempt
    assert not one.send(heartbeat(1, 2))


def test_a_peer_that_shook_hands_may_be_silent() -> None:
    one = host()
    one.set_handshake_timeout(DEADLINE_NS)
    peer = RawPeer.shaken(one)
    pump_for(0.25, one)
    assert not peer.at_end()


def test_strangers_in_a_crowd_are_turned_away_and_peers_are_kept() -> None:
    one = host()
    one.set_handshake_timeout(3 * DEADLINE_NS)
    friend = RawPeer.shaken(one)
    crowd = [RawPeer.dial(one) for _ in range(80)]
    pump_until(lambda: one.totals()["accepted"] == 81, one)
    assert one.totals()["unauthenticated"] == 64
    assert closed(one, "crowded") == 16
    friend.send(message_frame(heartbeat(2, 1)))
    pump_until(one.received, one)
    pump_until(lambda: one.totals()["unauthenticated"] == 0, one)
    RawPeer.shaken(one)
    assert all(stranger.at_end() for stranger in crowd)


def test_without_descriptors_it_waits_for_some() -> None:
    one = host()
    peer = RawPeer.dial(one)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        for _ in range(10):
            one.pump(1)
        assert one.totals()["accepted"] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    peer.send(hello_frame())
    pump_until(peer.read_frames, one)


def test_cluster_id_has_sixteen_bytes() -> None:
    assert len(CLUSTER) == 16
    with pytest.raises(ValueError, match="16 bytes"):
        endpoint(1, cluster_id=b"short")


def test_a_snapshot_without_a_snapshot_does_not_arrive() -> None:
    one = host()
    peer = RawPeer.shaken(one)
    peer.send(message_frame(Message("MsgSnap", from_=2, to=1)))
    pump_until(lambda: closed(one, "bad_message"), one)


# ---- strangers: hosts of the cluster that are no peers here


def roster_frame(payload: bytes = b"who is where", kind: int = 9) -> bytes:
    return build(TYPES["data"], kind, payload)


def stranger_at(one: Endpoint, id: int = 5) -> RawPeer:
    return RawPeer.shaken(one, from_=id)


def test_a_stranger_may_say_one_thing_and_is_turned_away() -> None:
    one = endpoint(1, meets_strangers=True)
    peer = stranger_at(one)
    peer.send(roster_frame() + message_frame(heartbeat(5, 1)) + roster_frame(b"and more"))
    pump_until(peer.at_end, one)
    assert one.introductions() == [(5, 9, b"who is where")]
    assert one.received() == []
    assert one.totals()["closed"] == {"introduced": 1}
    assert one.totals()["unauthenticated"] == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (message_frame(heartbeat(5, 1)), "unexpected"),
        (hello_frame(from_=5), "unexpected"),
        (roster_frame(bytes(64 * 1024)), "bad_length"),
        (roster_frame()[:-1] + b"\0", "bad_checksum"),
    ],
)
def test_a_stranger_that_says_anything_else_is_cut_off(data: bytes, reason: str) -> None:
    one = endpoint(1, meets_strangers=True)
    peer = stranger_at(one)
    peer.send(data)
    pump_until(peer.at_end, one)
    assert closed(one, reason) == 1
    assert one.introductions() == []
    stranger_at(one).send(roster_frame())  # the place is free again
    pump_until(one.introductions, one)


def test_a_stranger_that_says_nothing_is_cut_off_and_keeps_only_other_strangers_out() -> None:
    one = endpoint(1, meets_strangers=True)
    one.add_peer(2, "127.0.0.1", 9)
    one.set_handshake_timeout(5 * DEADLINE_NS)
    silent, second = stranger_at(one), RawPeer.dial(one)
    second.send(hello_frame(from_=6))
    assert second.refusal(one) == "member"
    RawPeer.shaken(one)
    pump_until(silent.at_end, one)
    assert closed(one, "timeout") == 1


@pytest.mark.parametrize("id", [0, 1])
def test_nobody_may_come_as_this_host(id: int) -> None:
    one = endpoint(1, meets_strangers=True)
    peer = RawPeer.dial(one)
    peer.send(hello_frame(from_=id))
    assert peer.refusal(one) == "member"


def test_who_was_introduced_is_met_when_it_dials_again() -> None:
    one, two = endpoint(1, meets_strangers=True), endpoint(2, greeting=b"hello")
    two.add_peer(1, "127.0.0.1", one.port)
    pump_until(lambda: one.totals()["closed"].get("introduced"), one, two)
    assert one.introductions() == [(2, 9, b"hello")]
    one.add_peer(2, "127.0.0.1", two.port)
    pump_until(lambda: one.statistics(2)["connected"] and two.statistics(1)["connected"], one, two)
