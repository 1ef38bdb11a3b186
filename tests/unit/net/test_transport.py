"""What hosts do for each other over TCP: exchange, order, bounds, reconnection, and the clock of what arrives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time

import pytest

from tenure._core import clock
from tenure._net.endpoint import encode_message
from tenure._net.frame import HEADER_BYTES
from unit.net.network import (
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


def test_two_hosts_exchange_messages() -> None:
    one, two = endpoint(1), endpoint(2)
    mesh(one, two)
    assert one.send(append(1, 2, b"payload"), group=5)
    assert two.send(heartbeat(2, 1, term=9), group=6)
    got_one, got_two = [], []
    pump_until(
        lambda: got_one.extend(one.received()) or got_two.extend(two.received()) or (got_one and got_two), one, two
    )
    ((group, message, _),) = got_two
    assert (group, message.type, message.entries[0].data) == (5, "MsgApp", b"payload")
    ((group, message, _),) = got_one
    assert (group, message.type, message.term) == (6, "MsgHeartbeat", 9)
    assert one.unreachable() == two.unreachable() == []


def test_three_hosts_exchange_messages_in_order() -> None:
    hosts = [endpoint(id) for id in (1, 2, 3)]
    mesh(*hosts)
    for term in range(500):
        for one in hosts:
            for other in hosts:
                assert one is other or one.send(heartbeat(one.id, other.id, term))
    got: dict[tuple[int, int], list[int]] = {}

    def everything() -> bool:
        for host in hosts:
            for _, message, _ in host.received():
                got.setdefault((message.from_, message.to), []).append(message.term)
        return sum(map(len, got.values())) == 3000

    pump_until(everything, *hosts)
    assert len(got) == 6
    assert all(terms == list(range(500)) for terms in got.values())


def test_ipv6() -> None:
    try:
        one, two = endpoint(1, address="::1"), endpoint(2, address="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    introduce(one, two, address="::1")
    pump_until(lambda: connected(one, two), one, two)
    one.send(heartbeat(1, 2))
    pump_until(two.received, one, two)


@pytest.mark.parametrize("address", ["localhost", "example.com", "", "1.2.3"])
def test_names_are_not_looked_up(address: str) -> None:
    if address == "1.2.3":  # numeric in the old way: 1.2.0.3, which is nobody's here
        address = "1.2.3.4.5"
    with pytest.raises(OSError, match="Invalid argument"):
        endpoint(1, address=address)
    with pytest.raises(OSError, match="Invalid argument"):
        endpoint(1).add_peer(2, address, 1)


def test_a_port_in_use_is_refused() -> None:
    one = endpoint(1)
    with pytest.raises(OSError, match="in use"):
        endpoint(2, port=one.port)


def test_a_peer_is_added_once_and_is_another_host() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 9)
    for id in (0, 1, 2):
        with pytest.raises(OSError):
            one.add_peer(id, "127.0.0.1", 9)


# ---- messages that are not sent


def test_a_message_to_nobody_is_dropped() -> None:
    one = endpoint(1)
    assert not one.send(heartbeat(1, 7))
    one.pump()
    assert one.unreachable() == []


def test_messages_to_an_unconnected_peer_are_dropped_counted_and_reported_once() -> None:
    one, two = endpoint(1), endpoint(2)
    one.add_peer(2, "127.0.0.1", two.port)
    assert [one.send(heartbeat(1, 2)) for _ in range(3)] == [False] * 3
    assert one.unreachable() == []  # never from inside send
    one.flush()
    one.flush()
    assert one.unreachable() == [2]
    assert one.statistics(2)["dropped_messages"] == 3


def test_a_full_queue_drops_and_reports_once_for_each_spell() -> None:
    one, host = endpoint(1, max_queued_bytes=1 << 20), RawHost()
    one.add_peer(2, "127.0.0.1", host.port)
    peer = host.welcome(one)
    message = append(1, 2, bytes(60_000))
    dropped = 0
    for _ in (1, 2):
        sent = in_a_row = 0
        while in_a_row < 20:  # the kernel's buffers may still grow after the first drop
            if one.send(message):
                sent, in_a_row = sent + 1, 0
            else:
                dropped, in_a_row = dropped + 1, in_a_row + 1
            one.pump()
            assert sent < 1000
        assert one.unreachable() == [2]
        assert one.statistics(2)["dropped_messages"] == dropped
        assert one.statistics(2)["queued_bytes"] <= 1 << 20
        arrived = 0

        def all_arrived(wanted: int = sent) -> bool:
            nonlocal arrived
            arrived += len(peer.read_frames())
            return arrived == wanted

        pump_until(all_arrived, one)
        assert one.statistics(2)["queued_bytes"] == 0
    assert one.statistics(2)["connected"]


def test_a_slow_reader_gets_everything_in_order() -> None:
    one, host = endpoint(1), RawHost()
    one.add_peer(2, "127.0.0.1", host.port)
    peer = host.welcome(one)
    expected = [encode_message(append(1, 2, bytes([i]) * 70_000, index=i + 1)) for i in range(100)]
    for i in range(100):
        assert one.send(append(1, 2, bytes([i]) * 70_000, index=i + 1), group=i)
    got: list[tuple[int, bytes]] = []

    def slow_read() -> bool:
        got.extend((group, payload) for _, group, payload in peer.read_frames(50_000))
        return len(got) == 100

    pump_until(slow_read, one)
    assert got == list(enumerate(expected))


def test_a_message_may_be_as_large_as_a_frame_and_no_larger() -> None:
    limit = 1 << 20
    one, two = endpoint(1, max_frame_bytes=limit), endpoint(2, max_frame_bytes=limit)
    mesh(one, two)
    room = limit - HEADER_BYTES - len(encode_message(append(1, 2, b"")))
    assert not one.send(append(1, 2, bytes(room + 1)))
    assert one.statistics(2)["dropped_messages"] == 1
    payload = os.urandom(room)
    assert one.send(append(1, 2, payload))
    got: list = []
    pump_until(lambda: got.extend(two.received()) or got, one, two)
    assert got[0][1].entries[0].data == payload


# ---- how bytes arrive


def test_a_message_may_arrive_byte_by_byte() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.dial(one)
    for byte in hello_frame() + message_frame(append(2, 1, b"slow")) + message_frame(heartbeat(2, 1, term=4)):
        peer.send(bytes([byte]))
        one.pump(0)
    got: list = []
    pump_until(lambda: got.extend(one.received()) or len(got) == 2, one)
    assert [message.type for _, message, _ in got] == ["MsgApp", "MsgHeartbeat"]


def test_many_messages_may_arrive_at_once() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.dial(one)
    peer.send(hello_frame() + b"".join(message_frame(heartbeat(2, 1, term)) for term in range(1000)))
    got: list = []
    pump_until(lambda: got.extend(one.received()) or len(got) == 1000, one)
    assert [message.term for _, message, _ in got] == list(range(1000))


def test_one_pass_reads_a_bounded_part_of_a_flood() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.shaken(one)
    frame = message_frame(append(2, 1, bytes(10_000)))
    peer.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            peer.send(frame)
    one.pump(100)
    assert 1 < len(one.received()) <= 256 * 1024 // len(frame) + 1
    one.pump(0)
    assert one.received()  # the rest was not forgotten


def test_h08_the_clock_is_read_after_the_last_byte() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.shaken(one)
    frame = message_frame(heartbeat(2, 1))
    peer.send(frame[:50])
    pump_for(0.02, one)
    assert one.received() == []
    before_the_rest = clock.now_ns()
    peer.send(frame[50:])
    got: list = []
    pump_until(lambda: got.extend(one.received()) or got, one)
    assert before_the_rest < got[0][2] <= clock.now_ns()


def test_h08_the_clock_is_read_for_each_receive_not_for_each_pass() -> None:
    pause_ns = 20_000_000
    one = endpoint(1)
    peers = []
    for id in (2, 3):
        one.add_peer(id, "127.0.0.1", 1)
        peers.append(RawPeer.shaken(one, from_=id))
    for id, peer in zip((2, 3), peers, strict=True):
        peer.send(message_frame(heartbeat(id, 1)))
    time.sleep(0.05)  # both are there: one pass sees them
    one.set_deliver_pause(pause_ns)
    assert one.pump(0) == 2
    (_, _, first_ns), (_, _, second_ns) = one.received()
    assert second_ns >= first_ns + pause_ns


def test_messages_completed_by_one_receive_share_its_reading() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.shaken(one)
    peer.send(message_frame(heartbeat(2, 1)) * 3)
    got: list = []
    pump_until(lambda: got.extend(one.received()) or len(got) == 3, one)
    assert len({now_ns for _, _, now_ns in got}) == 1


# ---- connections that come and go


def test_a_restarted_peer_is_found_again() -> None:
    one, two = endpoint(1), endpoint(2, start_counter=1)
    mesh(one, two)
    port = two.port
    two.close()
    pump_until(lambda: not one.statistics(2)["connected"], one)
    assert one.unreachable() == [2]
    assert not one.send(heartbeat(1, 2))
    one.flush()
    assert one.unreachable() == []  # said already
    two = endpoint(2, start_counter=2, port=port)
    two.add_peer(1, "127.0.0.1", one.port)
    pump_until(lambda: connected(one, two), one, two)
    assert one.statistics(2)["reconnects"] == 1
    assert one.send(heartbeat(1, 2))
    assert two.send(heartbeat(2, 1))
    pump_until(two.received, one, two)
    pump_until(one.received, one, two)


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_peer_that_is_not_there_is_dialled_less_and_less_often() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", dead_port())
    pump_for(0.3, one)
    early = one.totals()["closed"]["error"]
    assert 3 <= early <= 8  # 10 to 20 ms, then 20 to 40, 40 to 80, ...
    pump_for(1.2, one)
    assert 1 <= one.totals()["closed"]["error"] - early <= 5


def test_a_connection_from_the_peer_ends_the_waiting() -> None:
    one = endpoint(1)
    port = dead_port()
    one.add_peer(2, "127.0.0.1", port)
    pump_for(1.6, one)  # now it waits for at least 320 ms from attempt to attempt
    attempts = one.totals()["closed"]["error"]
    RawPeer.shaken(one)
    pump_until(lambda: one.totals()["closed"]["error"] >= attempts + 3, one, patience_s=0.3)


def test_a_peer_that_moved_is_dialled_at_its_new_address() -> None:
    one, two, elsewhere = endpoint(1), endpoint(2, start_counter=1), endpoint(2, start_counter=2)
    mesh(one, two)
    elsewhere.add_peer(1, "127.0.0.1", one.port)
    one.set_peer_address(2, "127.0.0.1", elsewhere.port)
    pump_until(lambda: connected(one, elsewhere), one, elsewhere)
    one.send(heartbeat(1, 2))
    pump_until(elsewhere.received, one, elsewhere)
    with pytest.raises(OSError, match="No such file"):
        one.set_peer_address(3, "127.0.0.1", 1)


def test_a_removed_peer_is_a_stranger() -> None:
    one, two = endpoint(1), endpoint(2)
    mesh(one, two)
    one.remove_peer(2)
    assert not one.send(heartbeat(1, 2))
    pump_until(lambda: two.totals()["was_refused"].get("member"), one, two)
    with pytest.raises(KeyError):
        one.statistics(2)


def test_a_connection_that_breaks_in_the_middle_of_a_frame_delivers_nothing() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.shaken(one)
    peer.send(message_frame(heartbeat(2, 1))[:-1])
    pump_for(0.02, one)
    peer.close()
    pump_until(lambda: one.totals()["closed"].get("end"), one)
    assert one.received() == []


def test_a_broken_connection_loses_only_what_was_queued() -> None:
    one, host = endpoint(1), RawHost()
    one.add_peer(2, "127.0.0.1", host.port)
    first = host.welcome(one)
    for _ in range(200):
        one.send(append(1, 2, bytes(60_000)))
    one.flush()
    assert one.statistics(2)["queued_bytes"] > 0
    first.close()
    second = host.welcome(one)
    assert one.statistics(2)["queued_bytes"] == 0
    one.send(heartbeat(1, 2, term=3))
    frames: list = []
    pump_until(lambda: frames.extend(second.read_frames()) or frames, one)
    assert [payload for _, _, payload in frames] == [encode_message(heartbeat(1, 2, term=3))]
    assert one.unreachable() == [2]


# ---- the end


def test_closing_is_idempotent_and_final() -> None:
    one, two = endpoint(1), endpoint(2)
    mesh(one, two)
    one.close()
    one.close()
    assert one.closed
    with pytest.raises(ValueError, match="closed"):
        one.send(heartbeat(1, 2))
    with pytest.raises(ValueError, match="closed"):
        one.pump()


def test_a_delivery_may_close_the_transport() -> None:
    one = endpoint(1)
    one.add_peer(2, "127.0.0.1", 1)
    peer = RawPeer.shaken(one)
    one.close_on_deliver()
    peer.send(message_frame(heartbeat(2, 1)) * 3)
    pump_until(lambda: one.closed or one.pump(1) < 0)
    assert len(one.received()) == 1
    assert peer.at_end()


def descriptors() -> dict[int, bool]:
    """Every open descriptor, and whether it is closed on exec."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the one that listed the folder
            found[int(name)] = bool(fcntl.fcntl(int(name), fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
    return found


def test_every_descriptor_is_closed_on_exec_and_at_the_end() -> None:
    before = descriptors()
    one, two = endpoint(1), endpoint(2)
    mesh(one, two)
    opened = {fd: on_exec for fd, on_exec in descriptors().items() if fd not in before}
    assert len(opened) == 2 * 2 + 4  # epoll and listener, and four ends of two connections
    assert all(opened.values())
    one.close()
    two.close()
    del one, two
    assert descriptors() == before
