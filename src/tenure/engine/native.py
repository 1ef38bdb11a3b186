"""`NativeEngine`: one member of one group, run by the compiled host of this process.

Everything that waits, waits without the GIL; everything that is decided, is decided below. This class turns arguments
into submissions and outcomes into results or typed errors. Any thread may call anything at any time, also while
another closes. After `close` every call raises `Closed`, `try_lease_read` answers None, and the properties keep
answering. In a forked child every call raises `ForkedProcess`; `close` does nothing there.

A time limit that passes while a command is under way raises `OutcomeUnknown`, never a timeout: it may still take
effect. Ctrl-C ends the wait, not the operation. Ctrl-C during `close` makes the end come at once; a second signal is
never ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import math
import os
import socket
import time
import uuid
import weakref
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

from tenure._core.clock import granularity_ns, now_ns
from tenure._core.fence import FencedRead
from tenure._core.lease import Lease
from tenure._core.state_machine import NativeMachine
from tenure._host.core import MOST_IO_THREADS, PROPOSE, READ, SNAPSHOT, STEP_DOWN, TRANSFER, CoreError, HostCore
from tenure.config import Config, check_listen_address, refuse
from tenure.engine.aio import AsyncEngine
from tenure.engine.lifecycle import LAST_CALL_S, Lifecycle
from tenure.engine.membership import GroupMembership, open_roster
from tenure.engine.outcome import OK, Call, Code, Outcomes, failure_name, is_transient, opening_error, timed_out
from tenure.engine.protocol import Change, MemberChange, Membership, ProposalResult, State, Status
from tenure.engine.pumps import ROLES, ApplyPump, EventPump
from tenure.errors import Closed, InvalidArgument, NotLeader, Overloaded, ProposalRefused, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tenure._host.core import CompletionInbox
    from tenure.engine.outcome import Outcome
    from tenure.engine.protocol import StateMachine
    from tenure.errors import TenureError

__all__ = ["NativeEngine"]

logger = logging.getLogger("tenure.engine")


NO_DEADLINE = -1
# What `status` shows as fields of its own; the rest of the host's numbers are its counters.
NAMED_GAUGES = frozenset(
    {"term", "leader", "transferee", "role", "failed", "commit_index", "applied_index", "first_index", "last_index"}
)


class LeaseRead(Protocol):
    """The type of `NativeEngine.lease_read`."""

    def __call__(self, *, timeout: float | None = None) -> int: ...


class NativeEngine:
    """The engine that tenure brings along: an `Engine`, a `LeaseProvider` and a `LeaseReader`.

    Attributes:
        aio: the same calls for asyncio.
        lease_read: `lease_read(*, timeout=None)`, compiled: by the lease where it holds, else by `linearizable_read`,
            whose errors it raises; returns the applied index.
        try_lease_read: the compiled fence itself: the applied index if the lease covers this instant, else None. Never
            blocks and never raises; one answer serves the call that it was made for and none that begins later.
    """

    aio: AsyncEngine
    lease_read: LeaseRead
    try_lease_read: Callable[[], int | None]

    def __init__(
        self,
        state_machine: StateMachine | NativeMachine,
        *,
        directory: str | os.PathLike[str],
        cluster_id: bytes | uuid.UUID,
        member_id: int,
        members: Mapping[int, str],
        learners: Sequence[int] = (),
        bootstrap: Sequence[int] | None = None,
        config: Config | None = None,
        redis: str | None = None,
        redis_password: str | None = None,
        io_threads: int = 0,
    ) -> None:
        """Open the directory, listen, and start to take part.

        Args:
            state_machine: what committed commands are applied to; a compiled one is used up by this, and another engine
                refuses it.
            directory: this member's own; made when it does not exist.
            cluster_id: 16 bytes that all members of the cluster share.
            member_id: this member, above 0; the directory belongs to it for good.
            members: "host:port" of every member by id, this one's own, where it listens, included.
            learners: those of `members` that have no vote.
            bootstrap: the voters that the group began with, where those are not all of `members` but its learners: a
                member that joins a running group is none of them. Once the directory has been used, its own memory of
                how the group began counts, and the log's of what became of it.
            config: the settings; equal on all members, but for what concerns one machine alone.
            redis: "host:port" where Redis clients are served, without Python; needs the native key-value store.
            redis_password: what Redis clients must show first; None: nothing.
            io_threads: how many threads serve Redis clients beside the host's own loop; 0: the loop does it. For
                machines with cores to spare, where many clients mostly read.

        Raises:
            InvalidArgument: an argument makes no sense; the message names it.
            StorageError: and its kinds: the directory cannot be used. Nothing in it was changed.
            AddressUnavailable: the address cannot be listened on.
        """
        config = Config() if config is None else config
        directory = os.path.abspath(directory)  # noqa: PTH100 - whatever becomes of the working directory
        addresses = resolve(members)
        self._member_id = check_member_id("member_id", member_id)
        if member_id not in addresses:
            raise refuse("members", f"this member, {member_id}, is not among them")
        if not set(learners) < set(addresses):
            raise refuse("learners", "must be some, but not all, of the members")
        began = sorted(set(addresses) - set(learners)) if bootstrap is None else sorted(set(bootstrap))
        if not began or set(began) & set(learners) or not set(map(partial(check_member_id, "bootstrap"), began)):
            raise refuse("bootstrap", "must be ids of voters, at least one")
        check_listen_address(addresses[member_id][0], insecure=config.insecure)
        native = isinstance(state_machine, NativeMachine)
        if not native and not callable(getattr(state_machine, "apply", None)):
            raise refuse("state_machine", "is no NativeMachine and has no method apply")
        options = config.options() | redis_options(
            redis, redis_password, state_machine, insecure=config.insecure, io_threads=io_threads
        )
        if config.fsync == "never":
            logger.warning('member %d runs with fsync="never": a power cut loses acknowledged writes', member_id)
        self._config = config
        identity = check_cluster_id(cluster_id)
        roster = open_roster(
            directory,
            uuid.UUID(bytes=identity),
            {id: written(*address) for id, address in addresses.items()},
            bootstrap=began,
            learners=learners,
        )
        try:
            core = HostCore(
                state_machine if isinstance(state_machine, NativeMachine) else None,
                directory=directory,
                cluster_id=identity,
                member_id=member_id,
                addresses={id: (address.encode(), port) for id, (address, port) in addresses.items()},
                voters=roster.base_voters,
                learners=roster.base_learners,
                base_index=roster.base_index,
                roster=[(one.id, one.index, (one.address or "").encode()) for one in roster.entries],
                options=options,
            )
        except CoreError as failure:
            raise opening_error(failure) from failure
        except ValueError as failure:  # more members than a group can have
            raise InvalidArgument(f"members: {failure}", field="members") from failure
        self._core = core
        self._port = core.port
        self._redis_host = options["redis_listen"][0].decode() if "redis_listen" in options else None
        self._group = GroupMembership(
            core, member_id, directory, roster, sync=config.fsync != "never", settle_s=config.election_timeout_s
        )
        self._group.keep()
        self._outcomes = Outcomes(
            self._group.addresses, config.max_message_bytes, lambda: failure_name(core.gauges()["failed"]), core.gauges
        )
        self._lease_duration_ns = max(0, config.lease_ns - max(1, granularity_ns())) if config.lease_ns else 0
        self.attempt_s = config.election_timeout_s
        self._first_attempt_ns = round(min(config.election_timeout_s, config.call_timeout_s) * 1e9)
        self.retry_s = config.tick_s
        self._lifecycle = Lifecycle(core, config.shutdown_timeout_s)
        try:
            core.start()
            self._set_up(core, state_machine)
        except BaseException:  # Ctrl-C, or no more threads: nobody will hold what is open
            with contextlib.suppress(Timeout):
                self._lifecycle.close(graceful=False)
            raise

    def _set_up(self, core: HostCore, state_machine: StateMachine | NativeMachine) -> None:
        self._events = EventPump(core, self._lifecycle, self._group.refresh)
        self._lifecycle.pump("tenure-events", self._events.run)
        if not isinstance(state_machine, NativeMachine):
            self._lifecycle.pump("tenure-apply", ApplyPump(core, self._lifecycle, state_machine).run)
            self._lifecycle.before_stop(self._drain_applying(core))
        self.try_lease_read = core.fence.try_lease_read
        self.lease_read = FencedRead(core.fence, without_owning(self.linearizable_read)).lease_read
        self.aio = AsyncEngine(self)
        aio = weakref.WeakMethod(self.aio.retire)
        self._lifecycle.at_end(lambda: retire() if (retire := aio()) is not None else None)
        weakref.finalize(self, self._lifecycle.abandon).atexit = False

    @staticmethod
    def _drain_applying(core: HostCore) -> Callable[[], bool]:
        def drained() -> bool:
            """Whether a leader has applied its log: a host that stops takes no more answers of a Python machine."""
            gauges = core.gauges()
            return (
                ROLES[gauges["role"]] is not State.LEADER
                or gauges["failed"] != OK
                or gauges["applied_index"] >= gauges["last_index"]
            )

        return drained

    # ------------------------------------------------------------------------------------------------------ writes

    def propose(self, data: bytes, *, timeout: float | None = None) -> ProposalResult:
        """Replicate a command and return once it was applied here.

        Args:
            data: the command, at least one byte.
            timeout: seconds; None: the engine's `call_timeout_s`.

        Raises:
            NotLeader: only the leader takes commands; the error names it.
            Overloaded: too much is under way; nothing was submitted.
            ProposalRefused: leadership is being handed over; nothing was submitted.
            TooLarge: a command must fit in one message.
            OutcomeUnknown: submitted, but its outcome was not learnt before the deadline or the end of the member.
            MemberFailed: the member has stopped for good.
            Timeout: the time limit was not above 0; nothing was submitted.
        """
        data = self.command(data)
        code, index, term, leader, value = self._call(Call.WRITE, PROPOSE, data, 0, self._deadline_ns(timeout))
        if code != OK:
            raise self.error(Call.WRITE, code, leader, size_bytes=len(data))
        return ProposalResult(index, term, value)

    # ------------------------------------------------------------------------------------------------------- reads

    def linearizable_read(self, *, timeout: float | None = None) -> int:
        """Confirm with a quorum and wait until this member has applied what was confirmed; returns the applied index.

        What the calling thread then reads from this member's state machine is linearizable. A follower asks the leader.
        While there is none, or it changes, the question is put again, under a new id, until the time limit.

        Raises:
            Timeout: no quorum confirmed in time.
            Overloaded: too many reads are waiting.
            MemberFailed: the member has stopped for good.
        """
        # Usual calls cost one crossing; what is not confirmed at once goes the long way, with what is left of its time.
        index = self._core.read(self._first_attempt_ns) if timeout is None else 0
        return index if index > 0 else self._read(timeout, spent_ns=-index)[1]

    def verify_leader(self, *, timeout: float | None = None) -> None:
        """Return if this member led, by the word of a quorum, at some instant of the call.

        Raises:
            NotLeader: it did not; the error names who does, where known.
            Timeout: no quorum answered in time.
        """
        self.verify(self._read(timeout))

    def _read(self, timeout_s: float | None, *, spent_ns: int = 0) -> Outcome:
        deadline_ns = self._deadline_ns(timeout_s)
        if deadline_ns >= 0:
            deadline_ns -= spent_ns
        attempt_ns = round(self.attempt_s * 1e9)
        error: TenureError | None = None
        while True:
            now = time.monotonic_ns()
            attempt_end_ns = now + attempt_ns
            if 0 <= deadline_ns <= now:
                raise Timeout("no quorum confirmed in time") from error
            try:
                outcome = self._call(
                    Call.READ, READ, None, 0, attempt_end_ns if deadline_ns < 0 else min(deadline_ns, attempt_end_ns)
                )
            except Timeout as late:  # a question that a dead leader took along
                error = late
                continue
            if outcome[0] == OK:
                return outcome
            error = self.error(Call.READ, outcome[0], outcome[3])
            if not is_transient(outcome[0]):
                raise error
            self._pause(deadline_ns)

    # -------------------------------------------------------------------------------------------------- leadership

    def transfer_leadership(self, target: int | None = None, *, timeout: float | None = None) -> int:
        """Hand leadership to `target`, or to the most suitable member, and return who leads afterwards.

        Raises:
            NotLeader: this member does not lead.
            InvalidArgument: the target is not another voter.
            ProposalRefused: the target did not take over, or another hand-over is under way.
            Timeout: nobody has taken over in time, as far as this member knows.
        """
        deadline_ns = self._deadline_ns(timeout)
        kind = STEP_DOWN if target is None else TRANSFER
        code, _, term, leader, _ = self._call(Call.CONTROL, kind, None, self.member(target), deadline_ns)
        if code != OK:
            raise self.error(Call.CONTROL, code, leader)
        while (successor := self.successor(term, target)) is None:
            if 0 <= deadline_ns <= time.monotonic_ns():
                raise Timeout("nobody has taken over in time, as far as this member knows")
            self._pause(deadline_ns)
        return successor

    def wait_for_leader(self, *, timeout: float | None = None) -> int:
        """Wait until this member knows a leader; returns its id.

        Raises:
            Timeout: none is known before the time limit.
        """
        deadline_ns = self._deadline_ns(timeout)
        while True:
            self.check()
            leader = self.leader
            if leader is not None:
                return leader
            if 0 <= deadline_ns <= time.monotonic_ns():
                raise Timeout("no leader is known")
            self._pause(deadline_ns)

    def register_leader_loss_callback(self, fn: Callable[[], None]) -> Callable[[], None]:
        """Have `fn` called after each loss of leadership, whatever its cause, the end of the engine included.

        Callbacks run one after the other on the engine's own thread, in order of registration; what one raises is
        logged. The lease was withdrawn before. Returns what takes `fn` back; it may be called more than once, does
        not wait for a call of `fn` that is under way, and works after `close`.

        A `Lease` is no callback: compiled code withdraws it, with the member's own lease and in the very step that
        ends the leadership, before anybody can hear of it; also at once, unless this member leads. The failure of the
        member and the end of the engine close it for good. It is for its owner to extend it only on the strength of
        what reached a quorum in the term that this member leads, with a generation sampled before that began.

        Raises:
            Closed: the engine is closed.
            MemoryError: there is no room for one more.
        """
        self.check()
        return self._depend(fn) if isinstance(fn, Lease) else self._events.register(fn)

    def _depend(self, lease: Lease) -> Callable[[], None]:
        code = self._core.add_dependent(lease)
        if code == Code.MEMORY:
            raise MemoryError("no memory for one more lease that depends on the leadership")
        if code != OK:  # this member will not lead again
            lease.close()
            self.check()
            return lambda: None
        registered = [lease]

        def take_back() -> None:
            with contextlib.suppress(IndexError):  # it was taken back already
                self._core.drop_dependent(registered.pop())

        return take_back

    # ----------------------------------------------------------------------------------------------------- numbers

    @property
    def member_id(self) -> int:
        """This member."""
        return self._member_id

    @property
    def port(self) -> int:
        """The port on which other members reach this one."""
        return self._port

    @property
    def redis_address(self) -> str | None:
        """Where Redis clients are served, with the port that was really taken; None where they are not."""
        if self._redis_host is None:
            return None
        port = self._core.redis_port
        return f"[{self._redis_host}]:{port}" if ":" in self._redis_host else f"{self._redis_host}:{port}"

    @property
    def redis_counters(self) -> Mapping[str, int]:
        """What the Redis front end counts, by name; empty without one."""
        return MappingProxyType(self._core.redis_gauges())

    @property
    def redis_threads(self) -> Sequence[Mapping[str, int]]:
        """The load of each of the `io_threads`: its clients, commands, lease hits, passes and busy nanoseconds."""
        return tuple(MappingProxyType(one) for one in self._core.redis_threads())

    @property
    def config(self) -> Config:
        """The settings that this engine was opened with."""
        return self._config

    @property
    def state(self) -> State:
        """What this member is doing; never raises."""
        if self._lifecycle.closing.is_set() or self._lifecycle.forked:
            return State.CLOSED
        gauges = self._core.gauges()
        return ROLES[gauges["role"]] if gauges["failed"] == OK else State.FAILED

    @property
    def leader(self) -> int | None:
        """The member that this one takes for the leader; a hint, never a proof."""
        if self._lifecycle.closing.is_set() or self._lifecycle.forked:
            return None
        return self._core.gauges()["leader"] or None

    @property
    def lease_duration_ns(self) -> int:
        """How long one confirmation by a quorum is worth, in nanoseconds; 0 with `reads="read_index"`."""
        return self._lease_duration_ns

    @property
    def applied_index(self) -> int:
        """The last index whose effects local reads see."""
        return self._core.applied.index

    @property
    def last_quorum_ack_ns(self) -> int:
        """An instant of the lease clock, not after the sending of what a quorum last answered; 0 without a lease."""
        expiry_ns = self._core.lease.expiry_ns
        return max(0, expiry_ns - self._lease_duration_ns) if 0 < now_ns() < expiry_ns else 0

    def status(self) -> Status:
        """The member's numbers, without asking anybody."""
        self.check()
        gauges = self._core.gauges()
        leader = gauges["leader"] or None
        return Status(
            member_id=self._member_id,
            state=ROLES[gauges["role"]] if gauges["failed"] == OK else State.FAILED,
            term=gauges["term"],
            leader=leader,
            leader_address=None if leader is None else self._group.addresses.get(leader),
            commit_index=gauges["commit_index"],
            applied_index=gauges["applied_index"],
            first_index=gauges["first_index"],
            last_index=gauges["last_index"],
            lease_remaining_ns=self._core.lease.remaining_ns,
            failure=failure_name(gauges["failed"]),
            counters=MappingProxyType({name: value for name, value in gauges.items() if name not in NAMED_GAUGES}),
        )

    def configuration(self) -> Membership:
        """Who belongs to the group, as this member has applied it, without asking anybody.

        Raises:
            Timeout: the host's loop did not answer within the engine's `call_timeout_s`.
        """
        self.check()
        return self._group.current(self._deadline_ns(None))

    # ----------------------------------------------------------------------------------------------------- members

    def add_learner(self, id: int, address: str, *, timeout: float | None = None) -> Membership:
        """Let a new member follow, without a vote; see `tenure.engine.Members` for the errors of all changes."""
        return self.change_members([MemberChange(Change.ADD_LEARNER, id, address)], timeout=timeout)

    def add_voter(self, id: int, address: str, *, timeout: float | None = None) -> Membership:
        """Let a new member vote at once."""
        return self.change_members([MemberChange(Change.ADD_VOTER, id, address)], timeout=timeout)

    def promote(self, id: int, *, timeout: float | None = None) -> Membership:
        """Give a learner a vote."""
        return self.change_members([MemberChange(Change.PROMOTE, id)], timeout=timeout)

    def demote(self, id: int, *, timeout: float | None = None) -> Membership:
        """Take a voter's vote; it follows on."""
        return self.change_members([MemberChange(Change.DEMOTE, id)], timeout=timeout)

    def remove(self, id: int, *, timeout: float | None = None) -> Membership:
        """Take a member out of the group for good."""
        return self.change_members([MemberChange(Change.REMOVE, id)], timeout=timeout)

    def change_members(self, changes: Sequence[MemberChange], *, timeout: float | None = None) -> Membership:
        """Several changes as one, through a joint configuration; returns when that is left again."""
        self.check()
        numeric_changes = [
            MemberChange(
                one.change,
                check_member_id("id", one.id),
                None if one.address is None else written(*host_and_port("address", one.address)),
            )
            for one in changes
        ]
        return self._group.change(
            numeric_changes, self._call, partial(self.error, Call.WRITE), self._pause, self._deadline_ns(timeout)
        )

    def take_snapshot(self, *, timeout: float | None = None) -> int:
        """Take a snapshot of this member's state now; returns the index that a durable one covers.

        Raises:
            InvalidArgument: this state machine takes no snapshots, or they are switched off.
            Timeout: it was not durable in time; it may still become so.
        """
        deadline_ns = self._deadline_ns(timeout)
        code, index, _, leader, _ = self._call(Call.CONTROL, SNAPSHOT, None, 0, deadline_ns)
        if code != OK:
            raise self.error(Call.CONTROL, code, leader)
        if index == 0:
            raise InvalidArgument("there is nothing that a snapshot could be taken of", field="state_machine")
        while (covered := self._core.gauges()["snapshot_index"]) < index:
            if 0 <= deadline_ns <= time.monotonic_ns():
                raise Timeout("the snapshot is not durable yet")
            self._pause(deadline_ns)
        return covered

    # --------------------------------------------------------------------------------------------------------- end

    def close(self, *, graceful: bool = True, timeout: float | None = None) -> None:
        """Stop: take nothing more, hand leadership over, finish what was accepted, sync, end every thread.

        May be repeated, and called from several threads: all return at the same end. Ctrl-C makes it come at once.
        Called from a callback or from the state machine it only starts the end, which waits for them.

        Args:
            graceful: False: at once; what is under way ends as `OutcomeUnknown`.
            timeout: seconds of grace, after which the end comes at once; None: the engine's `shutdown_timeout_s`.

        Raises:
            Timeout: the disk or the state machine does not answer, so the end is still to come.
        """
        self._lifecycle.close(graceful=graceful, timeout=timeout)

    def __enter__(self) -> Self:
        self.check()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.check()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.aio.close()

    def __repr__(self) -> str:
        return f"<NativeEngine member {self._member_id} {self.state}>"

    # ------------------------------------------------------------------------------- what `aio` and this class share

    def check(self) -> None:
        """Pass while the engine may be used; raises `Closed` or `ForkedProcess`."""
        self._lifecycle.check()

    def command(self, data: bytes | bytearray | memoryview) -> bytes:
        """`data` as a command: bytes, not empty, for an empty entry is the core's own."""
        command = data if isinstance(data, bytes) else bytes(memoryview(data))
        if not command:
            raise refuse("data", "a command has at least one byte")
        return command

    def limit_s(self, timeout_s: float | None) -> float:
        """The time limit of a call in seconds."""
        if timeout_s is None:
            return self._config.call_timeout_s
        if math.isnan(timeout_s):
            raise refuse("timeout", "is not a number")
        return timeout_s

    def member(self, target: int | None) -> int:
        """The target of a hand-over as the core takes it."""
        return 0 if target is None else check_member_id("target", target)

    def error(self, call: Call, code: int, leader: int = 0, *, size_bytes: int = 0) -> TenureError:
        """The error for a code; while the engine closes, a member that takes no more is `Closed`, not failed."""
        failed = self._outcomes.error(call, code, leader, size_bytes=size_bytes)
        if self._lifecycle.closing.is_set() and failed.code == "member_failed" and failed.details["cause"] is None:
            return Closed("the engine is closed")
        return failed

    def verify(self, outcome: Outcome) -> None:
        """Judge a confirmed read: the answer came while this member led, or was elected since the call began."""
        leader = outcome[3]
        if leader != self._member_id:
            raise NotLeader(
                "this member does not lead", leader=leader or None, address=self._group.addresses.get(leader)
            )

    def successor(self, term: int, target: int | None) -> int | None:
        """Who leads after a hand-over in `term`; None while nobody is known to."""
        self.check()
        gauges = self._core.gauges()
        leader = gauges["leader"]
        given_up = gauges["term"] == term and not gauges["transferee"]
        if target is not None and leader == self._member_id and (given_up or gauges["term"] > term):
            raise ProposalRefused(f"member {target} did not take over in time; this one leads")
        return leader if leader and gauges["term"] > term else None

    def post(self, kind: int, data: bytes | None, argument: int, inbox: CompletionInbox, tag: int) -> None:
        """Submit for an event loop."""
        try:
            self._core.post(kind, data, argument, inbox, tag)
        except Overloaded:
            self._lifecycle.check()
            raise

    async def end(self, *, graceful: bool, timeout_s: float | None) -> None:
        """Close without blocking the running event loop."""
        lifecycle = self._lifecycle
        if lifecycle.forked:
            return
        grace_s = lifecycle.grace_s(timeout_s)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        lifecycle.begin(graceful=graceful, limit_s=grace_s)
        lifecycle.at_end(tell)
        try:
            async with asyncio.timeout(grace_s):
                await ended.wait()
        except TimeoutError:
            lifecycle.begin(graceful=False)
            try:
                async with asyncio.timeout(LAST_CALL_S):
                    await ended.wait()
            except TimeoutError:
                raise lifecycle.stuck() from None

    def _deadline_ns(self, timeout_s: float | None) -> int:
        limit_s = self.limit_s(timeout_s)
        if limit_s <= 0:
            raise Timeout("the deadline passed before anything was submitted")
        return NO_DEADLINE if limit_s > 1e9 else time.monotonic_ns() + int(limit_s * 1e9)

    def _call(self, call: Call, kind: int, data: bytes | None, argument: int, deadline_ns: int) -> Outcome:
        self._lifecycle.check()
        try:
            outcome = self._core.call(kind, data, argument, deadline_ns)
        except Overloaded:
            self._lifecycle.check()  # a host that is being closed takes nothing either
            raise
        if outcome is None:
            raise timed_out(call)
        return outcome

    def _pause(self, deadline_ns: int) -> None:
        """Wait a little before asking again, or until somebody closes the engine."""
        left_s = self.retry_s if deadline_ns < 0 else (deadline_ns - time.monotonic_ns()) / 1e9
        if self._lifecycle.closing.wait(min(self.retry_s, max(0.0, left_s))):
            raise Closed("the engine is closed")


def without_owning(method: LeaseRead) -> LeaseRead:
    """`method`, without keeping its object alive: who forgets an engine wants it closed."""
    found = weakref.WeakMethod(method)

    def call(*, timeout: float | None = None) -> int:
        alive = found()
        if alive is None:
            raise Closed("the engine is closed")
        return alive(timeout=timeout)

    return call


def check_member_id(field: str, id: object) -> int:
    """Member ids are whole numbers above 0."""
    if isinstance(id, bool) or not isinstance(id, int) or not 0 < id < 1 << 64:
        raise refuse(field, f"{id!r} is not a member id, a whole number above 0")
    return id


def check_cluster_id(cluster_id: bytes | uuid.UUID) -> bytes:
    """16 bytes."""
    identity: object = cluster_id.bytes if isinstance(cluster_id, uuid.UUID) else cluster_id
    if not isinstance(identity, bytes) or len(identity) != 16:
        raise refuse("cluster_id", "has 16 bytes")
    return identity


def redis_options(
    address: str | None, password: str | None, state_machine: object, *, insecure: bool, io_threads: object = 0
) -> dict[str, Any]:
    """What the compiled host is told of its Redis clients; nothing without an address."""
    if isinstance(io_threads, bool) or not isinstance(io_threads, int) or not 0 <= io_threads <= MOST_IO_THREADS:
        raise refuse("io_threads", f"{io_threads!r} is no number of threads, 0 to {MOST_IO_THREADS}")
    if io_threads and address is None:
        raise refuse("io_threads", "are for Redis clients: say `redis`, too")
    if address is None:
        return {}
    from tenure._kv.machine import KeyValueMachine

    if not isinstance(state_machine, KeyValueMachine):
        raise refuse("redis", "Redis clients need the native key-value store as the state machine")
    host, port = host_and_port("redis", address)
    check_listen_address(host, insecure=insecure)
    if password == "":
        raise refuse("redis_password", "is empty: None stands for no password")
    secret = {} if password is None else {"redis_password": password.encode()}
    return {"redis_listen": (host.encode(), port), "redis_io_threads": io_threads, **secret}


def resolve(members: Mapping[int, str]) -> dict[int, tuple[str, int]]:
    """Numeric address and port of every member, by id."""
    if not members:
        raise refuse("members", "are needed")
    addresses: dict[int, tuple[str, int]] = {}
    for id, text in members.items():
        check_member_id("members", id)
        addresses[id] = host_and_port("members", text)
    return addresses


def host_and_port(field: str, text: str) -> tuple[str, int]:
    """Numeric address and port of a "host:port"."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise refuse(field, f'{text!r} is not "host:port"')
    return numeric(host), int(port)


def written(address: str, port: int) -> str:
    """A numeric address and a port as one text."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def numeric(host: str) -> str:
    """The numeric address of a host; IPv4 is preferred."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as failure:  # ValueError: not even a name, says the codec of names
        raise InvalidArgument(f"members: {host!r} has no address: {failure}", field="members") from None
    best = min(found, key=lambda one: one[0] != socket.AF_INET)
    return str(best[4][0])
