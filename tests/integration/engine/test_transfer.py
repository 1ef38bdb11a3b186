"""How a member that was away for long gets a snapshot: over links that break or are slow, and through restarts."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import threading
import time

import pytest

from tenure._kv.machine import KeyValueMachine
from tenure._storage import file_faults
from tenure.config import Config

from .cluster import BUSY_ELECTION_S, FAST, Cluster
from .test_snapshots import counters, files, index_of, until, write

BEHIND = 3
KEYS = 3000
SIZE = 2000
PIECE = 1 << 16


def config(**changes):
    return Config(
        **{
            "heartbeat_s": FAST.heartbeat_s,
            "election_timeout_s": BUSY_ELECTION_S,
            "segment_bytes": 4 << 20,
            "snapshot_every": 1000,
            "max_message_bytes": PIECE,
            **changes,
        }
    )


class Link:
    """Forwards connections to `port`; may be slowed down and cut. Counts what it forwards to the one dialled."""

    def __init__(self, port):
        self.port = port
        self.bytes_per_s = None
        self.forwarded = 0
        self.sockets = set()
        self.lock = threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.sockets |= {near, far}
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()

    def carry(self, near, far):
        """Both ways, until either side ends; only then are the sockets closed, when no thread is at them any more."""
        back = threading.Thread(target=self.pump, args=(far, near, False), daemon=True)
        back.start()
        self.pump(near, far, True)
        back.join()
        with self.lock:
            for one in (near, far):
                one.close()
                self.sockets.discard(one)

    def pump(self, source, sink, counted):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 13):
                if counted:
                    self.forwarded += len(data)
                    if self.bytes_per_s:
                        time.sleep(len(data) / self.bytes_per_s)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """End what is open now; connections made later are forwarded."""
        with self.lock:
            for one in self.sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        self.cut()


class LinkedCluster(Cluster):
    """Three members; what the others send to the third goes over a link."""

    link = None

    def start(self, id):
        direct = self.members
        if self.link is None:
            self.link = Link(int(direct[BEHIND].rpartition(":")[2]))
        try:
            if id != BEHIND:
                self.members = {**direct, BEHIND: self.link.address}
            return super().start(id)
        finally:
            self.members = direct

    def leave(self):
        """The third member goes, and one of the others leads."""
        self.engines.pop(BEHIND).close(graceful=False)
        return self.leader()

    def kill(self):
        self.engines.pop(BEHIND).close(graceful=False)

    @property
    def behind(self):
        return self.engines[BEHIND]

    def caught_up(self, index, timeout=30.0):
        until(lambda: self.behind.applied_index >= index, "the member lags", timeout)
        hashes = {machine.state_hash for id, machine in self.machines.items() if id in self.engines}
        until(lambda: len({self.machines[id].state_hash for id in self.engines}) == 1, f"states differ: {hashes}")


@pytest.fixture
def linked(tmp_path):
    made = []

    def make(**changes):
        cluster = LinkedCluster(tmp_path, 3, config=config(**changes), machine=KeyValueMachine)
        made.append(cluster)
        return cluster

    yield make
    file_faults.clear()
    for cluster in made:
        cluster.close(graceful=False)
        cluster.link.close()


def half_received(cluster, part=0.5):
    """Wait until about half of a file has come; its name and size so far."""
    folder = cluster.folder / str(BEHIND)
    found = []

    def there():
        found[:] = [(path.name, path.stat().st_size) for path in folder.glob("snapnew-in-*")]
        return found and found[0][1] > part * int(found[0][0].split("-")[5], 16)

    until(there, "nothing is received")
    return found[0]


def test_what_was_received_survives_a_restart_of_the_receiver(linked):
    """It goes on where it was, though the leader has a later snapshot by then."""
    cluster = linked()
    leader = cluster.leave()
    write(leader, 6000, keys=KEYS, size=SIZE)
    cluster.link.bytes_per_s = 4 << 20
    cluster.start(BEHIND)
    name, _ = half_received(cluster)
    cluster.kill()
    (kept,) = (cluster.folder / str(BEHIND)).glob("snapnew-in-*")
    assert kept.name == name
    size = kept.stat().st_size
    before = counters(leader)["snapshot_index"]
    last = write(leader, 1500, first=6000, keys=KEYS, size=SIZE)
    until(lambda: counters(leader)["snapshot_index"] > before, "no later snapshot was taken")
    cluster.link.bytes_per_s = None
    cluster.start(BEHIND)
    cluster.caught_up(last)
    seen = counters(cluster.behind)
    assert (seen["snapshots_resumed"], seen["snapshots_installed"]) == (1, 1)
    assert seen["snapshot_received_bytes"] <= int(name.split("-")[5], 16) - size + (1 << 20)
    assert not files(cluster.folder / str(BEHIND), "snapnew-in")


@pytest.mark.parametrize("damage", ["header", "middle", "end", "cut"])
def test_a_beginning_that_is_damaged_meanwhile_is_used_as_far_as_it_is_sound(linked, damage):
    cluster = linked()
    leader = cluster.leave()
    last = write(leader, 6000, keys=KEYS, size=SIZE)
    cluster.link.bytes_per_s = 8 << 20
    cluster.start(BEHIND)
    name, _ = half_received(cluster)
    cluster.kill()
    path = cluster.folder / str(BEHIND) / name
    content = bytearray(path.read_bytes())
    at = {"header": 100, "middle": len(content) // 2, "end": len(content) - 1, "cut": 0}[damage]
    content[at] ^= damage != "cut"
    path.write_bytes(content[: len(content) // 3] if damage == "cut" else content)
    cluster.link.bytes_per_s = None
    cluster.start(BEHIND)
    cluster.caught_up(last)
    seen = counters(cluster.behind)
    assert seen["snapshots_installed"] == 1
    assert seen["snapshots_resumed"] == (damage != "header")


def test_a_connection_that_breaks_costs_a_piece(linked):
    cluster = linked()
    leader = cluster.leave()
    last = write(leader, 6000, keys=KEYS, size=SIZE)
    cluster.link.bytes_per_s = 8 << 20
    cluster.start(BEHIND)
    for part in (0.2, 0.4, 0.6):
        half_received(cluster, part)
        cluster.link.cut()
    cluster.caught_up(last)
    seen = counters(cluster.behind)
    assert seen["snapshots_installed"] == 1
    assert seen["snapshot_received_bytes"] <= max(p.stat().st_size for p in (cluster.folder / "3").glob("snap-*"))


def test_over_a_slow_link_nothing_is_sent_over_and_over(linked):
    """A piece takes longer than it takes to ask again."""
    cluster = linked(max_message_bytes=1 << 20)
    leader = cluster.leave()
    last = write(leader, 3000, keys=KEYS, size=600)
    (*_, size) = [path.stat().st_size for path in sorted((cluster.folder / str(leader.member_id)).glob("snap-*"))]
    cluster.link.bytes_per_s = 300_000
    before = cluster.link.forwarded
    cluster.start(BEHIND)
    cluster.caught_up(last, timeout=60)
    assert counters(cluster.behind)["snapshots_installed"] == 1
    assert cluster.link.forwarded - before < 1.6 * size + 500_000


def test_a_member_that_is_at_a_snapshot_does_not_hold_the_log_for_ever(linked):
    """Above the limit it is offered the latest snapshot, and the leader forgets what it kept."""
    cluster = linked(max_snapshot_hold_bytes=4 << 20)
    leader = cluster.leave()
    write(leader, 4000, keys=KEYS, size=SIZE)
    cluster.link.bytes_per_s = 300_000
    cluster.start(BEHIND)
    half_received(cluster, 0.02)
    held = leader.status().first_index
    last = write(leader, 8000, first=4000, keys=KEYS, size=SIZE)
    until(lambda: leader.status().first_index > held + 5000, "the log is held")
    cluster.link.bytes_per_s = None
    cluster.caught_up(last)
    assert counters(cluster.behind)["snapshots_installed"] >= 1


def test_a_file_that_is_damaged_at_the_leader_is_written_anew(linked):
    cluster = linked()
    leader = cluster.leave()
    last = write(leader, 6000, keys=KEYS, size=SIZE)
    until(lambda: counters(leader)["snapshot_index"] > 4500, "no snapshot was taken")
    time.sleep(0.3)
    newest = max((cluster.folder / str(leader.member_id)).glob("snap-*"), key=lambda path: index_of(path.name))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    cluster.start(BEHIND)
    cluster.caught_up(last)
    assert counters(leader)["snapshots_damaged"] == 1
    assert counters(cluster.behind)["snapshots_installed"] == 1


def test_another_leader_s_file_is_not_mixed_with_the_first_one_s(linked):
    """What was received of the one is given up, or gone on with where the same bytes are there; never joined."""
    cluster = linked()
    leader = cluster.leave()
    last = write(leader, 6000, keys=KEYS, size=SIZE)
    cluster.link.bytes_per_s = 4 << 20
    cluster.start(BEHIND)
    half_received(cluster, 0.3)
    other = next(id for id in cluster.engines if id not in {leader.member_id, BEHIND})
    leader.transfer_leadership(other)
    cluster.caught_up(last)
    assert cluster.leader().member_id == other
    assert counters(cluster.behind)["snapshots_installed"] == 1


def test_the_beginning_of_a_file_that_nobody_needs_goes(linked):
    cluster = linked()
    cluster.leader()
    last = write(cluster.leader(), 2500, keys=KEYS, size=100)
    cluster.caught_up(last)
    cluster.kill()
    folder = cluster.folder / str(BEHIND)
    left = folder / f"snapnew-in-{0:08x}-{100:016x}-{1:016x}-{5000:016x}-{random.getrandbits(31) | 1:08x}"
    left.write_bytes(bytes(3000))
    useless = folder / "snapnew-in-00000000-0000000000000064-0000000000000001"
    useless.write_bytes(b"of an older build")
    cluster.start(BEHIND)
    assert not useless.exists()
    until(lambda: not left.exists(), "it is kept")


def test_a_copy_of_the_folder_made_while_a_file_is_received_starts(linked, tmp_path):
    """Power lost in the middle of it: the start finds a beginning and a log that does not know of it."""
    cluster = linked()
    leader = cluster.leave()
    last = write(leader, 6000, keys=KEYS, size=SIZE)
    cluster.link.bytes_per_s = 4 << 20
    cluster.start(BEHIND)
    half_received(cluster, 0.3)
    shutil.copytree(cluster.folder / str(BEHIND), tmp_path / "copy")
    cluster.kill()
    shutil.rmtree(cluster.folder / str(BEHIND))
    (tmp_path / "copy").rename(cluster.folder / str(BEHIND))
    cluster.link.bytes_per_s = None
    cluster.start(BEHIND)
    cluster.caught_up(last)
    assert counters(cluster.behind)["snapshots_installed"] == 1
