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
    log-state 1                                 first, last, stable, committed, applied
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.storage import Storage
from tests.conformance.transcript import BadTranscript, Directive

from tenure._core.lease import Lease
from tenure._raft.node import Configuration, Message, RawNode, Ready, Snapshot, describe_entries
from tenure.errors import TenureError

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
LEVELS = ("debug", "info", "warn", "error", "fatal", "none")
UNLIMITED_BYTES = 1 << 62
UNLIMITED_MESSAGES = 4096  # the core keeps a slot for each


class Lacks(Exception):
    """The file needs a feature that the core does not have yet."""


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
            learners=configuration.learners,
            hard_state=self.storage.hard_state,
            snapshot=self.storage.snapshot,
            entries=self.storage.entries,
            lease=self.lease,
            now_ns=self.clock.now_ns,
            **self.config,
        )


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
        self.queue: list[Message] = []
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
            return str(refused) if self.quiet else "\n".join([*self.lines, str(refused)])
        return "\n".join(self.lines) if self.lines and not self.quiet else "ok"

    def print(self, text: str) -> None:
        self.lines.extend(self.indent + line for line in text.rstrip("\n").split("\n"))

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

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            target = self.members.get(message.to)
            if target is None or target.node is not None:
                self.queue.append(message)

    def take(self, to: int, kind: str | None = None) -> list[Message]:
        taken = [
            message
            for message in self.queue
            if message.to == to
            and (kind is None or message.type == kind)
            and not any(held.matches(message) for held in self.held)
        ]
        self.queue = [message for message in self.queue if message not in taken]
        return taken

    def deliver(self, to: int, *, drop: bool = False, kind: str | None = None) -> int:
        messages = self.take(to, kind)
        for message in messages:
            self.print(f"{'dropped: ' if drop else ''}{message}")
            if not drop:
                member = self.member(str(to))
                try:
                    member.live.step(message, member.clock.now_ns)
                except TenureError as refused:
                    self.print(str(refused))
        return len(messages)

    # ---- a host's pass

    def handle_ready(self, member: Member) -> None:
        ready = member.live.ready()
        self.print(str(ready))
        self.send(ready.messages)
        member.unsynced.append(ready)
        if not member.stalled:
            self.sync(member)

    def sync(self, member: Member) -> None:
        """Write what was handed out, acknowledge it, then send and apply what waited for it."""
        node, waiting = member.live, member.unsynced
        member.unsynced = []
        for ready in waiting:
            member.storage.write(ready)
            node.appended(ready.number, member.clock.now_ns)
            self.send(ready.after_append)
            if ready.snapshot is not None:
                node.applied_to(ready.snapshot.index, member.clock.now_ns)
            if ready.committed:
                node.applied_to(ready.committed[-1].index, member.clock.now_ns)

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

    # ---- directives of etcd/raft's files

    def do_log_level(self, directive: Directive) -> None:
        (level,) = directive.words
        if level not in LEVELS:
            raise BadTranscript(f"line {directive.line}: unknown level {level}")
        self.quiet = level == "none"

    def do_add_nodes(self, directive: Directive) -> None:
        options = dict(directive.options)
        if options.pop("async-storage-writes", ("false",)) == ("true",):
            raise Lacks("asynchronous storage threads")
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
            "async_storage": False,
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
                raise Lacks("membership changes: disable-conf-change-validation")
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
        raise Lacks("membership changes: propose-conf-change")

    def do_process_append_thread(self, directive: Directive) -> None:
        raise Lacks("asynchronous storage threads: process-append-thread")

    def do_process_apply_thread(self, directive: Directive) -> None:
        raise Lacks("asynchronous storage threads: process-apply-thread")

    def do_process_ready(self, directive: Directive) -> None:
        for member in self.chosen(directive.words):
            self.handle_ready(member)

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
        member.storage.compact(index)

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
        member.unsynced = []
        member.stalled = member.paused = False
        self.queue = [message for message in self.queue if message.to != member.id]

    def do_restart(self, directive: Directive) -> None:
        self.do_crash(directive)
        member = self.first(directive)
        for key, values in directive.options.items():
            self.configure(member.config, key, values[0])
        member.start()
