"""A cluster that changes its members all the time, in a world that loses, delays and repeats messages, and crashes.

Everything is decided by one seed. Each host keeps the core's contract: what waits for the disk leaves only when it is
durable, a new commit index alone is not written, changes are applied in order. Disks and state machines have their own
pace. Watched after every event, over all members and true time:

    one leader a term; what is applied at an index is the same everywhere, and so is the configuration there
    never two valid leases; never an entry of a higher term applied anywhere while a lower term's lease is valid
    a valid lease's holder has applied whatever anybody has applied
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tenure._core.lease import Lease
from tenure._raft.changes import Change
from tenure._raft.node import Configuration, Entry, HardState, Message, RawNode, Ready, Snapshot
from tenure.errors import InvalidArgument, Refused

MS = 1_000_000
TICK_NS = 50 * MS
FIRST = Configuration(voters=(1, 2, 3))


class Violation(AssertionError):
    pass


def fields_of(configuration: Configuration) -> tuple[object, ...]:
    """The proof build has a class of its own."""
    c = configuration
    return (c.voters, c.outgoing, c.learners, c.learners_next, c.auto_leave)


@dataclass
class Disk:
    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot | None = None
    entries: list[Entry] = field(default_factory=list)

    def write(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self.snapshot, self.entries = ready.snapshot, []
        if ready.hard_state is not None and (ready.must_sync or ready.snapshot is not None):
            self.hard_state = ready.hard_state
        if ready.entries:
            base = self.snapshot.index if self.snapshot else 0
            self.entries = [*self.entries[: ready.entries[0].index - base - 1], *ready.entries]

    def compact(self, snapshot: Snapshot) -> None:
        self.entries = [entry for entry in self.entries if entry.index > snapshot.index]
        self.snapshot = snapshot


@dataclass
class Host:
    id: int
    offset_ns: int
    disk: Disk
    node: RawNode
    lease: Lease
    waiting: list[Ready] = field(default_factory=list)  # for the disk
    to_apply: list[Entry] = field(default_factory=list)
    applied: int = 0
    restarts: int = 0
    alive: bool = True


class World:
    def __init__(
        self, seed: int, *, node_type: type[RawNode] = RawNode, guards_off: int = 0, hosts: int = 6, calm: bool = False
    ) -> None:
        self.random = random.Random(seed)
        self.calm = calm  # no crashes and no losses
        self.node_type = node_type
        self.seed = seed
        self.config = {
            "election_ticks": 10,
            "heartbeat_ticks": 2,
            "promise_ns": 9 * TICK_NS,
            "check_quorum": self.random.random() < 0.7,
            "pre_vote": self.random.random() < 0.7,
            "on_removal": self.random.choice(("stay", "step-down", "hand-over", "hand-over")),
            "guards_off": guards_off,
        }
        self.now_ns = 1_000_000 * MS
        self.network: list[Message] = []
        self.leaders: dict[int, int] = {}
        self.history: dict[int, Entry] = {}
        self.configurations: dict[int, tuple[object, ...]] = {0: fields_of(FIRST)}
        self.max_applied = 0
        self.max_applied_term = 0
        self.apart: set[int] = set()  # nothing passes between these and the others
        self.counts: Counter[str] = Counter()
        self.hosts: dict[int, Host] = {}
        for number in range(1, hosts + 1):
            disk = Disk(snapshot=Snapshot(1, 1, FIRST) if number <= 3 else None)
            self.hosts[number] = self.start(number, disk, number * 777 * MS, 0)

    # ---- hosts

    def start(self, number: int, disk: Disk, offset_ns: int, restarts: int) -> Host:
        lease = Lease()
        c = disk.snapshot.configuration if disk.snapshot else Configuration()
        node = self.node_type(
            number,
            voters=c.voters,
            outgoing=c.outgoing,
            learners=c.learners,
            learners_next=c.learners_next,
            auto_leave=c.auto_leave,
            hard_state=disk.hard_state,
            snapshot=disk.snapshot,
            entries=disk.entries,
            lease=lease,
            now_ns=self.now_ns + offset_ns,
            seed=self.seed * 1000 + number + restarts * 100,
            **self.config,
        )
        host = Host(number, offset_ns, disk, node, lease, restarts=restarts)
        host.applied = disk.snapshot.index if disk.snapshot else 0
        return host

    def clock(self, host: Host) -> int:
        return self.now_ns + host.offset_ns

    def crash(self, host: Host) -> None:
        for ready in host.waiting[: self.random.randrange(len(host.waiting) + 1)]:
            host.disk.write(ready)
        host.alive = False
        host.lease.invalidate()
        self.counts["crashes"] += 1

    def restart(self, host: Host) -> None:
        self.hosts[host.id] = self.start(host.id, host.disk, host.offset_ns, host.restarts + 1)

    def pump(self, host: Host) -> None:
        """Take what the core has ready."""
        while host.node.has_ready():
            ready = host.node.ready()
            self.network += ready.messages
            if ready.snapshot is not None:
                host.to_apply = []
            host.to_apply += ready.committed
            host.waiting.append(ready)
            if not (ready.must_sync or ready.snapshot) and len(host.waiting) == 1:
                self.sync(host)

    def sync(self, host: Host) -> None:
        ready = host.waiting.pop(0)
        host.disk.write(ready)
        host.node.appended(ready.number, self.clock(host))
        self.network += ready.after_append
        if ready.snapshot is not None:
            host.applied = max(host.applied, ready.snapshot.index)
            self.same_configuration(ready.snapshot.index, ready.snapshot.configuration)
            host.node.applied_to(host.applied, self.clock(host))

    def apply(self, host: Host) -> None:
        count = self.random.randint(1, len(host.to_apply))
        batch, host.to_apply = host.to_apply[:count], host.to_apply[count:]
        for entry in batch:
            known = self.history.setdefault(entry.index, entry)
            if known != entry:
                raise Violation(f"{host.id} applies {entry}, {known} was applied there")
            if entry.kind:
                try:
                    host.node.apply_conf_change(entry, self.clock(host))
                except Refused as impossible:  # a guard is off, or validation
                    self.counts[str(impossible)] += 1
                self.same_configuration(entry.index, host.node.configuration)
                self.counts["changes applied"] += 1
        last = batch[-1]
        host.applied = max(host.applied, last.index)
        self.max_applied = max(self.max_applied, last.index)
        self.max_applied_term = max(self.max_applied_term, last.term)
        host.node.applied_to(last.index, self.clock(host))

    def same_configuration(self, index: int, configuration: Configuration) -> None:
        """An index has one configuration, whoever gets there and however."""
        if index in self.history and not self.history[index].kind:
            index = max(at for at in self.configurations if at <= index)
        fields = fields_of(configuration)
        if self.configurations.setdefault(index, fields) != fields:
            raise Violation(f"at {index}: {fields}, it was {self.configurations[index]}")

    def snapshot(self, host: Host) -> None:
        index, configuration = host.node.applied, host.node.configuration
        terms = {entry.index: entry.term for entry in host.disk.entries}
        if index in terms and index >= host.node.configuration_index:
            host.node.note_snapshot(index)
            host.node.compact(index)
            host.disk.compact(Snapshot(index, terms[index], configuration))
            self.counts["snapshots"] += 1

    # ---- what happens

    def leader(self) -> Host | None:
        leading = [host for host in self.hosts.values() if host.alive and host.node.role == "StateLeader"]
        return max(leading, key=lambda host: host.node.term) if leading else None

    def deliver(self) -> None:
        message = self.network.pop(self.random.randrange(min(len(self.network), 12)))
        host = self.hosts[message.to]
        lost = not host.alive or (message.from_ in self.apart) != (message.to in self.apart)
        lost = lost or (not self.calm and self.random.random() < 0.03)
        if message.type == "MsgSnap":
            self.report_snapshot(message, delivered=not lost)
        if lost:
            return
        if not self.calm and self.random.random() < 0.03:
            self.network.append(message)
        try:
            host.node.step(message, self.clock(host))
        except Refused as refused:
            if str(refused) != "UnknownPeer":
                raise
        self.pump(host)

    def report_snapshot(self, message: Message, *, delivered: bool) -> None:
        """As a transport does. That the snapshot arrived does not mean that its acknowledgement will."""
        sender = self.hosts[message.from_]
        if sender.alive:
            sender.node.report_snapshot(message.to, delivered, self.clock(sender))

    def random_change(self) -> tuple[list[Change], str]:
        some = self.random.sample(list(self.hosts), self.random.choice((1, 1, 1, 2, 3, 4)))
        changes = [Change(self.random.choice("vvvlrr"), member) for member in some]
        return changes, self.random.choice(("auto", "auto", "implicit", "explicit"))

    def propose(self, host: Host) -> None:
        changes, transition = self.random_change()
        if host.node.configuration.outgoing and self.random.random() < 0.5:
            changes, transition = [], "auto"
        try:
            if self.random.random() < 0.7:
                refused = host.node.propose_conf_change(changes, self.clock(host), transition=transition)
                self.counts["changes refused" if refused else "changes proposed"] += 1
            else:
                host.node.propose(b"%d" % self.random.randrange(1000), self.clock(host))
        except (Refused, InvalidArgument):
            self.counts["refused"] += 1
        self.pump(host)

    def pass_time(self) -> None:
        self.now_ns += TICK_NS
        for host in self.hosts.values():
            if host.alive and self.random.random() < 0.95:
                host.node.tick(self.clock(host))
                self.pump(host)

    def fault(self) -> None:
        host = self.random.choice(list(self.hosts.values()))
        draw = self.random.random()
        if draw < 0.3:
            self.apart = set(self.random.sample(list(self.hosts), self.random.randint(1, len(self.hosts) // 2)))
        elif draw < 0.5:
            self.apart.clear()
        elif not host.alive:
            self.restart(host)
        elif draw < 0.65:
            self.crash(host)
        elif draw < 0.8:
            self.snapshot(host)
        elif (leader := self.leader()) is not None:
            try:
                leader.node.transfer(self.random.choice(list(self.hosts)), self.clock(leader))
                self.counts["transfers"] += 1
            except Refused:
                pass
            self.pump(leader)

    def step(self) -> None:
        draw = self.random.random()
        alive = [host for host in self.hosts.values() if host.alive]
        writing = [host for host in alive if host.waiting]
        applying = [host for host in alive if host.to_apply]
        if draw < 0.01 and not self.calm:
            self.fault()
        elif draw < 0.03:
            self.pass_time()
        elif draw < 0.06:
            leaders = [host for host in alive if host.node.role == "StateLeader"]
            if leaders:
                self.propose(self.random.choice(leaders))
        elif draw < 0.25 and writing:
            host = self.random.choice(writing)
            self.sync(host)
            self.pump(host)
        elif draw < 0.4 and applying:
            host = self.random.choice(applying)
            self.apply(host)
            self.pump(host)
        elif self.network:
            self.deliver()
        self.watch()

    def run(self, steps: int) -> Counter[str]:
        for _ in range(steps):
            self.step()
        return self.counts

    # ---- what must hold

    def watch(self) -> None:
        holders = []
        for host in self.hosts.values():
            node = host.node
            if not host.alive:
                continue
            if node.failed:
                raise Violation(f"{host.id} failed: {node.failed}")
            if node.role == "StateLeader" and self.leaders.setdefault(node.term, host.id) != host.id:
                raise Violation(f"two leaders in term {node.term}")
            if host.lease.valid_at(self.clock(host)):
                holders.append(host)
        if len(holders) > 1:
            raise Violation(f"two leases: {[host.id for host in holders]}")
        for host in holders:
            self.counts["watched leases"] += 1
            if host.applied < self.max_applied:
                raise Violation(f"{host.id} holds a lease and has applied {host.applied} of {self.max_applied}")
            if host.node.term < self.max_applied_term:
                raise Violation(f"{host.id} holds a lease of term {host.node.term}, {self.max_applied_term} is applied")

    # ---- afterwards

    def heal(self, ticks: int = 400) -> bool:
        """With everybody back and nothing lost or late, somebody leads and every voter applies an entry of its own."""
        self.calm = True
        self.apart.clear()
        for host in list(self.hosts.values()):
            if not host.alive:
                self.restart(host)
        goal = goal_term = 0
        for _ in range(ticks):
            self.pass_time()
            self.settle()
            leader = self.leader()
            if leader is None or leader.applied < leader.node.own_term_index:
                continue
            voters = {*leader.node.configuration.voters, *leader.node.configuration.outgoing}
            if goal and all(self.hosts[each].applied >= goal for each in voters):
                return True
            if leader.id not in voters:
                if self.config["on_removal"] == "stay":  # an operator's work
                    leader.node.step_down(self.clock(leader))
                    self.pump(leader)
                continue
            if goal_term != leader.node.term:
                try:
                    goal = leader.node.propose(b"goal", self.clock(leader))
                except Refused:
                    continue  # leadership is being handed over
                goal_term = leader.node.term
                self.pump(leader)
        return False

    def settle(self) -> None:
        """Everything that is under way arrives, is written and is applied."""
        busy = True
        while busy:
            busy = bool(self.network)
            for _ in range(len(self.network)):
                self.deliver()
            for host in self.hosts.values():
                while host.waiting or host.to_apply:
                    busy = True
                    if host.waiting:
                        self.sync(host)
                    else:
                        self.apply(host)
                    self.pump(host)
            self.watch()
