"""A cluster of pure members in one thread: the environment of the `interaction` files and of our own scenarios.

Messages travel through one queue in the order in which they were sent and move only when a directive says so.
Directives of etcd/raft's files mean here what they mean there. The project's own add time, disks and broken networks;
members count from 1, durations are written `200ms`, the clock of member N starts at N times 1000 s so that no two are
confused:

    add-nodes 3 voters=(1,2,3) index=10 promise=700ms [rate=1/8] [granularity=1us] [pending-reads=4] [election=10] ...
    tick 1 count=3                              several ticks, at the clock's present reading
    clock 1|all advance=200ms | freeze | thaw | fail | fix | rate=1.1
    read 1 id=7     transfer 1 to=2     step-down 1
    lease           every member's lease (remaining time on its own clock, generation) and its promise
    hold [from=1] [to=2] [type=MsgApp]          such messages stay in the queue until `release` with the same arguments
    drop [from=1] [to=2] [type=MsgApp]          forget such messages, held ones too
    duplicate [from=1] [to=2] [type=MsgApp]     queue such messages once more
    disk 2 stall | sync                         Readys are handled, but written and acknowledged only at `sync`
    pause 2, resume 2                           a paused member handles nothing, hears nothing, does not tick
    crash 3, restart 3 [promise=900ms ...]      what is not on disk is lost; so are messages sent to it meanwhile
    wipe 3                                      a crash that takes the disk along: 3 starts empty, as add-nodes makes it
    log-state 1                                 first, last, stable, committed, applied
    configuration                               every member's, and the index of the entry that made it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.membership import parse_changes
from tests.conformance.storage import Storage
from tests.conformance.threads import LocalMessage, StorageThreads, Work
from tests.conformance.transcript import BadTranscript, Directive

from tenure._core.lease import Lease
from tenure._raft.node import Configuration, Entry, Message, RawNode, Ready, Snapshot, describe_entries
from tenure.errors import TenureError

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
LEVELS = ("debug", "info", "warn", "error", "fatal", "none")
UNLIMITED_BYTES = 1 << 62
RELEASE = re.compile(r" Release:\d+")
NORMAL = 0  # the kind of an entry that is no change of membership
UNLIMITED_MESSAGES = 4096  # the core keeps a slot for each


# The core's name for a refusal, and what etcd/raft's files print for it.
REFUSALS = {"Removed": "raft proposal dropped", "UnknownPeer": "raft: cannot step as peer not found"}


def parse_duration(text: str) -> int:
    match = re.fullmatch(r"(\d+)(ns|us|ms|s)", text)
    if match is None:
        raise BadTranscript(f"not a duration: {text!r}")
    return int(match[1]) * UNITS[match[2]]


def milliseconds(ns: int) -> str:
    """Rounded down, as the lease word is."""
    return f"{ns // 1_000_000}ms"


@dataclass
class Clock:
    reading_ns: int
    rate: float = 1.0
    frozen: bool = False
    failing: bool = False

    @property
    def now_ns(self) -> int:
        return 0 if self.failing else self.reading_ns

    def advance(self, ns: int) -> None:
        if not self.frozen:
            self.reading_ns += int(ns * self.rate)


@dataclass
class Member:
    id: int
    config: dict[str, Any]
    configuration: Configuration
    storage: Storage
    clock: Clock
    node_type: type[RawNode] = RawNode
    node: RawNode | None = None
    lease: Lease = field(default_factory=Lease)
    paused: bool = False
    stalled: bool = False
    unsynced: list[Ready] = field(default_factory=list)
    asynchronous: bool = False
    threads: StorageThreads | None = None
    noted: int = 0  # index of the latest snapshot that the core knows of
    history: list[tuple[int, Configuration]] = field(default_factory=list)  # configurations since the start, by index

    @property
    def live(self) -> RawNode:
        if self.node is None:
            raise BadTranscript(f"member {self.id} has crashed")
        return self.node

    def start(self) -> None:
        configuration = self.storage.snapshot.configuration if self.storage.snapshot else self.configuration
        self.lease = Lease()
        self.node = self.node_type(
            self.id,
            voters=configuration.voters,
            outgoing=configuration.outgoing,
            learners=configuration.learners,
            learners_next=configuration.learners_next,
            auto_leave=configuration.auto_leave,
            hard_state=self.storage.hard_state,
            snapshot=self.storage.snapshot,
            entries=self.storage.entries,
            lease=self.lease,
            now_ns=self.clock.now_ns,
            **self.config,
        )
        self.noted = self.storage.snapshot.index if self.storage.snapshot else 0
        self.history = [(self.noted, configuration)]
        if self.asynchronous:
            self.threads = StorageThreads(self.node, self.acknowledge, self.applied)

    def term_of(self, index: int) -> int:
        snapshot = self.storage.snapshot
        terms = {snapshot.index: snapshot.term} if snapshot else {}
        return {**terms, **{entry.index: entry.term for entry in self.storage.entries}}[index]

    def configuration_at(self, index: int) -> Configuration:
        return [configuration for at, configuration in self.history if at <= index][-1]

    # ---- what a host tells its core

    def acknowledge(self, number: int) -> None:
        self.live.appended(number, self.clock.now_ns)

    def apply(self, entries: Iterable[Entry]) -> None:
        """The state machine here is the configuration alone."""
        for entry in entries:
            if entry.kind != NORMAL:
                self.history.append((entry.index, self.live.apply_conf_change(entry, self.clock.now_ns)))

    def installed(self, snapshot: Snapshot) -> None:
        self.noted = snapshot.index
        self.history = [(snapshot.index, snapshot.configuration)]
        self.applied(snapshot.index)

    def applied(self, index: int) -> None:
        """As far as the core can tell there is a snapshot of all that is applied: a lagging member is sent that."""
        self.live.applied_to(index, self.clock.now_ns)
        if self.live.applied > self.noted:
            self.noted = self.live.applied
            self.live.note_snapshot(self.noted)


@dataclass(frozen=True)
class Filter:
    """Which messages a `hold`, `drop` or `duplicate` means; None matches all."""

    from_: int | None
    to: int | None
    type: str | None

    @classmethod
    def of(cls, directive: Directive) -> Filter:
        options = directive.options
        if directive.words or set(options) - {"from", "to", "type"} or not options:
            raise BadTranscript(f"line {directive.line}: say from=, to= or type=")
        kind = options.get("type", (None,))[0]
        from_, to = (int(options[key][0]) if key in options else None for key in ("from", "to"))
        return cls(from_, to, kind)

    def matches(self, message: Message) -> bool:
        return (
            self.from_ in (None, message.from_) and self.to in (None, message.to) and self.type in (None, message.type)
        )


class Cluster:
    """`node_type` and `guards_off` replace the core by its proof build with guards switched off."""

    def __init__(self, node_type: type[RawNode] = RawNode, guards_off: int = 0) -> None:
        self.node_type = node_type
        self.guards_off = guards_off
        self.members: dict[int, Member] = {}
        self.queue: list[Message | LocalMessage] = []
        self.held: list[Filter] = []
        self.quiet = False
        self.lines: list[str] = []
        self.indent = ""

    # ---- running directives

    def run(self, directive: Directive) -> str:
        handler: Callable[[Directive], None] | None = getattr(self, "do_" + directive.command.replace("-", "_"), None)
        if handler is None:
            raise BadTranscript(f"line {directive.line}: unknown command {directive.command}")
        self.lines = []
        try:
            handler(directive)
        except TenureError as refused:
            return self.refused(refused) if self.quiet else "\n".join([*self.lines, self.refused(refused)])
        return "\n".join(self.lines) if self.lines and not self.quiet else "ok"

    def print(self, text: str) -> None:
        self.lines.extend(self.indent + line for line in text.rstrip("\n").split("\n"))

    @staticmethod
    def refused(refused: TenureError) -> str:
        return REFUSALS.get(str(refused), str(refused))

    @staticmethod
    def as_sent_by(member: Member | None, text: str) -> str:
        """Without promises nothing is released: then it is the context of a transfer, which those files hide."""
        return text if member is None or member.config["promise_ns"] else RELEASE.sub("", text)

    @contextmanager
    def indented(self) -> Iterator[None]:
        self.indent += "  "
        try:
            yield
        finally:
            self.indent = self.indent[:-2]

    def member(self, word: str) -> Member:
        try:
            return self.members[int(word)]
        except (KeyError, ValueError):
            raise BadTranscript(f"no member {word!r}") from None

    def first(self, directive: Directive) -> Member:
        if not directive.words:
            raise BadTranscript(f"line {directive.line}: {directive.command} which member?")
        return self.member(directive.words[0])

    def chosen(self, words: list[str]) -> list[Member]:
        return [self.member(word) for word in words] if words else list(self.members.values())

    # ---- the network

    def send(self, messages: Sequence[Message | LocalMessage]) -> None:
        for message in messages:
            target = self.members.get(message.to)
            if target is None or target.node is not None:
                self.queue.append(message)

    def take(self, to: int, kind: str | None = None, *, lossy: bool = False) -> list[Message | LocalMessage]:
        taken = [
            message
            for message in self.queue
            if message.to == to
            and not (lossy and isinstance(message, LocalMessage))
            and (kind is None or message.type == kind)
            and not any(held.matches(message) for held in self.held)
        ]
        self.queue = [message for message in self.queue if message not in taken]
        return taken

    def deliver(self, to: int, *, drop: bool = False, kind: str | None = None) -> int:
        messages = self.take(to, kind, lossy=drop)
        for message in messages:
            text = self.as_sent_by(self.members.get(message.from_), str(message))
            self.print(f"{'dropped: ' if drop else ''}{text}")
            if not drop:
                try:
                    self.hear(self.member(str(to)), message)
                except TenureError as refused:
                    self.print(self.refused(refused))
        return len(messages)

    @staticmethod
    def hear(member: Member, message: Message | LocalMessage) -> None:
        if isinstance(message, LocalMessage):
            message.handle()
        else:
            member.live.step(message, member.clock.now_ns)

    # ---- a host's pass

    def handle_ready(self, member: Member) -> None:
        ready = member.live.ready()
        if member.threads is not None:
            self.print(self.as_sent_by(member, member.threads.take(ready)))
            self.send(ready.messages)
            return
        self.print(self.as_sent_by(member, str(ready)))
        self.send(ready.messages)
        member.unsynced.append(ready)
        if not member.stalled:
            self.sync(member)

    def sync(self, member: Member) -> None:
        """Write what was handed out, acknowledge it, then send and apply what waited for it."""
        waiting, member.unsynced = member.unsynced, []
        for ready in waiting:
            member.storage.write(ready)
            member.apply(ready.committed)
            member.acknowledge(ready.number)
            self.send(ready.after_append)
            if ready.snapshot is not None:
                member.installed(ready.snapshot)
            if ready.committed:
                member.applied(ready.committed[-1].index)

    def append_thread(self, member: Member) -> None:
        assert member.threads is not None
        if not member.threads.append_work:
            self.print("no append work to perform")
            return
        work = member.threads.append_work.pop(0)
        member.storage.write(work.ready)
        if work.ready.snapshot is not None:
            member.noted = work.ready.snapshot.index
        self.answer(work)
        member.threads.written(work)

    def apply_thread(self, member: Member) -> None:
        assert member.threads is not None
        if not member.threads.apply_work:
            self.print("no apply work to perform")
            return
        work = member.threads.apply_work.pop(0)
        member.apply(work.ready.committed)
        self.answer(work)

    def answer(self, work: Work) -> None:
        self.print("Processing:")
        self.print(work.describe(with_responses=False))
        self.print("Responses:")
        for response in work.responses:
            self.print(str(response))
        self.send(work.responses)

    def stabilize(self, members: list[Member]) -> None:
        busy = True
        while busy:
            busy = False
            awake = [member for member in members if member.node is not None and not member.paused]
            for member in awake:
                if member.live.has_ready():
                    busy = True
                    self.print(f"> {member.id} handling Ready")
                    with self.indented():
                        self.handle_ready(member)
            for member in awake:
                if any(m.to == member.id and not any(held.matches(m) for held in self.held) for m in self.queue):
                    busy = True
                    self.print(f"> {member.id} receiving messages")
                    with self.indented():
                        self.deliver(member.id)
            for member in awake:
                if member.threads is not None and member.threads.append_work:
                    busy = True
                    self.print(f"> {member.id} processing append thread")
                    with self.indented():
                        while member.threads.append_work:
                            self.append_thread(member)
            for member in awake:
                if member.threads is not None and member.threads.apply_work:
                    busy = True
                    self.print(f"> {member.id} processing apply thread")
                    with self.indented():
                        while member.threads.apply_work:
                            self.apply_thread(member)

    def each(self, directive: Directive, what: str, act: Callable[[Member], None]) -> None:
        """Act on the members named, under a heading each if they are several."""
        members = self.chosen(directive.words)
        for member in members:
            if len(members) == 1:
                act(member)
                continue
            self.print(f"> {member.id} {what}")
            with self.indented():
                act(member)

    # ---- directives of etcd/raft's files

    def do_log_level(self, directive: Directive) -> None:
        (level,) = directive.words
        if level not in LEVELS:
            raise BadTranscript(f"line {directive.line}: unknown level {level}")
        self.quiet = level == "none"

    def do_add_nodes(self, directive: Directive) -> None:
        options = dict(directive.options)
        asynchronous = options.pop("async-storage-writes", ("false",)) == ("true",)
        options.pop("content", None)  # of the state machine, which the core never sees
        voters, learners = (tuple(map(int, options.pop(key, ()))) for key in ("voters", "learners"))
        index = int(options.pop("index", ("0",))[0])
        config: dict[str, Any] = {
            "election_ticks": 3,
            "heartbeat_ticks": 1,
            "check_quorum": False,
            "pre_vote": False,
            "max_message_bytes": UNLIMITED_BYTES,
            "max_committed_bytes": UNLIMITED_BYTES,
            "max_inflight_messages": UNLIMITED_MESSAGES,
            "max_inflight_bytes": UNLIMITED_BYTES,
            "max_uncommitted_bytes": UNLIMITED_BYTES,
            "async_storage": asynchronous,
            "on_removal": "stay",
            "commit_in_votes": False,
            "promise_ns": 0,
            "guards_off": self.guards_off,
        }
        for key, values in options.items():
            self.configure(config, key, values[0])
        configuration = Configuration(voters=voters, learners=learners)
        for _ in range(int(directive.words[0])):
            number = len(self.members) + 1
            storage = Storage(snapshot=Snapshot(index, 1, configuration) if index else None)
            clock = Clock(number * 1000 * UNITS["s"])
            member = Member(number, {**config, "seed": number}, configuration, storage, clock, self.node_type)
            member.asynchronous = asynchronous
            member.start()
            self.members[number] = member

    def configure(self, config: dict[str, Any], key: str, value: str) -> None:
        match key:
            case "prevote" | "checkquorum":
                config["pre_vote" if key == "prevote" else "check_quorum"] = value == "true"
            case "inflight":
                config["max_inflight_messages"] = int(value)
            case "read-only":
                # etcd/raft's lease-based reads count ticks; here a lease is a promise of a length of time.
                config["promise_ns"] = parse_duration("700ms") if value == "lease-based" else 0
            case "promise" | "granularity":
                config[key + "_ns"] = parse_duration(value)
            case "rate":
                config["rate_numerator"], config["rate_denominator"] = map(int, value.split("/"))
            case "pending-reads":
                config["max_pending_reads"] = int(value)
            case "election" | "heartbeat":
                config[key + "_ticks"] = int(value)
            case "max-uncommitted" | "max-message":
                config[key.replace("-", "_") + "_bytes"] = int(value)
            case "max-committed-size-per-ready":
                config["max_committed_bytes"] = int(value)
            case "disable-conf-change-validation":
                config["disable_change_validation"] = value == "true"
            case "step-down-on-removal":
                config["on_removal"] = "step-down" if value == "true" else "stay"
            case "on-removal":
                config["on_removal"] = value
            case "commit-in-votes":
                config["commit_in_votes"] = value == "true"
            case _:
                raise BadTranscript(f"unknown option {key}")

    def do_campaign(self, directive: Directive) -> None:
        member = self.first(directive)
        member.live.campaign(member.clock.now_ns)

    def do_propose(self, directive: Directive) -> None:
        member = self.first(directive)
        for payload in directive.words[1:]:
            member.live.propose(payload.encode(), member.clock.now_ns)

    def do_propose_conf_change(self, directive: Directive) -> None:
        member = self.first(directive)
        transition = directive.options.get("transition", ("auto",))[0]
        v1 = directive.options.get("v1", ("false",))[0] == "true"
        refusal = member.live.propose_conf_change(
            parse_changes(directive), member.clock.now_ns, transition=transition, v1=v1
        )
        if refusal:
            self.print(f"INFO {member.id} appended an empty entry instead: {refusal}")

    def do_process_append_thread(self, directive: Directive) -> None:
        self.each(directive, "processing append thread", self.append_thread)

    def do_process_apply_thread(self, directive: Directive) -> None:
        self.each(directive, "processing apply thread", self.apply_thread)

    def do_process_ready(self, directive: Directive) -> None:
        self.each(directive, "handling Ready", self.handle_ready)

    def do_stabilize(self, directive: Directive) -> None:
        quiet = self.quiet
        if "log-level" in directive.options:
            self.quiet = directive.options["log-level"] == ("none",)
        self.stabilize(self.chosen(directive.words))
        if self.quiet:
            self.lines = []
        self.quiet = quiet

    def do_deliver_msgs(self, directive: Directive) -> None:
        count = 0
        kind = directive.options.get("type", (None,))[0]
        for key, values in directive.arguments:
            if not values:
                count += self.deliver(int(key), kind=kind)
            elif key == "drop":
                count += sum(self.deliver(int(value), drop=True, kind=kind) for value in values)
            elif key != "type":
                raise BadTranscript(f"line {directive.line}: unknown argument {key}")
        if not count:
            self.print("no messages")

    def do_tick_heartbeat(self, directive: Directive) -> None:
        self.tick(self.first(directive), self.first(directive).config["heartbeat_ticks"])

    def do_tick_election(self, directive: Directive) -> None:
        self.tick(self.first(directive), self.first(directive).config["election_ticks"])

    def tick(self, member: Member, count: int) -> None:
        for _ in range(0 if member.paused else count):
            member.live.tick(member.clock.now_ns)

    def do_set_randomized_election_timeout(self, directive: Directive) -> None:
        self.first(directive).live.set_election_timeout(int(directive.options["timeout"][0]))

    def do_status(self, directive: Directive) -> None:
        text = self.first(directive).live.describe_status()
        if text:
            self.print(text)

    def do_raft_state(self, directive: Directive) -> None:
        for member in self.members.values():
            self.print(f"{member.id}: {member.live.describe_state() if member.node else 'crashed'}")

    def do_raft_log(self, directive: Directive) -> None:
        storage = self.first(directive).storage
        if not storage.entries:
            self.print(f"log is empty: first index={storage.first_index}, last index={storage.last_index}")
        else:
            self.print(describe_entries(storage.entries))

    def do_report_unreachable(self, directive: Directive) -> None:
        self.first(directive).live.report_unreachable(int(directive.words[1]))

    def do_forget_leader(self, directive: Directive) -> None:
        self.first(directive).live.forget_leader()

    def do_compact(self, directive: Directive) -> None:
        member, index = self.first(directive), int(directive.words[1])
        member.live.compact(index)
        member.storage.compact(index, member.configuration_at(index))
        self.do_raft_log(directive)

    def do_send_snapshot(self, directive: Directive) -> None:
        """What the member would send now, whatever it thinks that the other one needs."""
        member, to = self.first(directive), int(directive.words[1])
        snapshot = Snapshot(member.noted, member.term_of(member.noted), member.configuration_at(member.noted))
        message = Message("MsgSnap", from_=member.id, to=to, term=member.live.term, snapshot=snapshot)
        self.send([message])
        self.print(str(message))

    def do_transfer_leadership(self, directive: Directive) -> None:
        member = self.member(directive.options["from"][0])
        member.live.transfer(int(directive.options["to"][0]), member.clock.now_ns)

    # ---- the project's own directives

    def do_transfer(self, directive: Directive) -> None:
        member = self.first(directive)
        member.live.transfer(int(directive.options["to"][0]), member.clock.now_ns)

    def do_step_down(self, directive: Directive) -> None:
        member = self.first(directive)
        member.live.step_down(member.clock.now_ns)

    def do_read(self, directive: Directive) -> None:
        member = self.first(directive)
        member.live.read_index(int(directive.options["id"][0]), member.clock.now_ns)

    def do_report_snapshot(self, directive: Directive) -> None:
        member = self.first(directive)
        delivered = directive.words[2:] == ["delivered"]
        member.live.report_snapshot(int(directive.words[1]), delivered, member.clock.now_ns)

    def do_tick(self, directive: Directive) -> None:
        self.tick(self.first(directive), int(directive.options.get("count", ("1",))[0]))

    def do_clock(self, directive: Directive) -> None:
        which, *orders = directive.words
        for member in self.members.values() if which == "all" else [self.member(which)]:
            clock = member.clock
            for order in orders:
                match order:
                    case "freeze" | "thaw":
                        clock.frozen = order == "freeze"
                    case "fail" | "fix":
                        clock.failing = order == "fail"
                    case _:
                        raise BadTranscript(f"line {directive.line}: unknown order {order}")
            if "rate" in directive.options:
                clock.rate = float(directive.options["rate"][0])
            if "advance" in directive.options:
                clock.advance(parse_duration(directive.options["advance"][0]))

    def do_lease(self, directive: Directive) -> None:
        for member in self.chosen(directive.words):
            if member.node is None:
                self.print(f"{member.id}: crashed")
                continue
            now_ns, lease = member.clock.now_ns, member.lease
            held = f"lease {milliseconds(lease.expiry_ns - now_ns)}" if lease.valid_at(now_ns) else "no lease"
            self.print(f"{member.id}: {held}, generation {lease.generation}; {self.promise(member.node, now_ns)}")

    @staticmethod
    def promise(node: RawNode, now_ns: int) -> str:
        if not now_ns:
            return "clock unreadable"
        if node.restart_wait_ns:
            return f"promise to nobody, {milliseconds(node.restart_wait_ns)} from the first clock reading"
        if node.promise_until_ns <= now_ns:
            return "no promise"
        return f"promise to {node.promise_holder or 'nobody'}, {milliseconds(node.promise_until_ns - now_ns)}"

    def do_log_state(self, directive: Directive) -> None:
        node = self.first(directive).live
        self.print(
            f"first={node.first_index} last={node.last_index} stable={node.stable}"
            f" committed={node.commit} applied={node.applied}"
        )

    def do_configuration(self, directive: Directive) -> None:
        for member in self.chosen(directive.words):
            if member.node is not None:
                self.print(f"{member.id}: {member.live.describe_members()} at {member.live.configuration_index}")

    def do_hold(self, directive: Directive) -> None:
        self.held.append(Filter.of(directive))

    def do_release(self, directive: Directive) -> None:
        try:
            self.held.remove(Filter.of(directive))
        except ValueError:
            raise BadTranscript(f"line {directive.line}: nothing like that is held") from None

    def do_drop(self, directive: Directive) -> None:
        matching = Filter.of(directive)
        for message in [message for message in self.queue if matching.matches(message)]:
            self.print(f"dropped: {message}")
        self.queue = [message for message in self.queue if not matching.matches(message)]

    def do_duplicate(self, directive: Directive) -> None:
        matching = Filter.of(directive)
        copies = [message for message in self.queue if matching.matches(message)]
        for message in copies:
            self.print(f"duplicated: {message}")
        self.queue.extend(copies)

    def do_disk(self, directive: Directive) -> None:
        member = self.first(directive)
        (order,) = directive.words[1:]
        member.stalled = order == "stall"
        if order == "sync":
            self.sync(member)
        elif order != "stall":
            raise BadTranscript(f"line {directive.line}: unknown order {order}")

    def do_pause(self, directive: Directive) -> None:
        self.first(directive).paused = True

    def do_resume(self, directive: Directive) -> None:
        self.first(directive).paused = False

    def do_crash(self, directive: Directive) -> None:
        member = self.first(directive)
        member.node = None
        member.threads = None
        member.unsynced = []
        member.stalled = member.paused = False
        self.queue = [message for message in self.queue if message.to != member.id]

    def do_wipe(self, directive: Directive) -> None:
        self.do_crash(directive)
        member = self.first(directive)
        member.storage = Storage()
        member.configuration = Configuration()
        member.start()

    def do_restart(self, directive: Directive) -> None:
        self.do_crash(directive)
        member = self.first(directive)
        for key, values in directive.options.items():
            self.configure(member.config, key, values[0])
        member.start()
