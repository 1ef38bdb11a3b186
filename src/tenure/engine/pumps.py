"""The two threads that Python lends to an engine: one for events, one that applies commands to a Python state machine.

The host never calls into Python; these threads pull. Both end soon after the host has stopped, and both hold the host
but not the engine. What a callback or a state machine raises is logged and goes no further; a state machine that
raised, or that answered other than one value a command, stops the member: its state can no longer be trusted to equal
the others'.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING

from tenure.engine.outcome import Code, failure_name, state_diverged
from tenure.engine.protocol import Command, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tenure._host.core import HostCore
    from tenure.engine.lifecycle import Lifecycle
    from tenure.engine.protocol import StateMachine

__all__ = ["ROLES", "ApplyPump", "EventPump"]

logger = logging.getLogger("tenure.engine")

# Event kinds of `_host/member.pxd`, entry kinds and roles of `_raft/types.pxd`.
EVENT_ROLE, EVENT_LEADER_LOST, EVENT_FAILED, EVENT_STALLED, EVENT_MEMBERS = 1, 2, 3, 4, 5
ENTRY_NORMAL = 0
ROLES = (State.FOLLOWER, State.PRE_CANDIDATE, State.CANDIDATE, State.LEADER)

SLICE_NS = 500_000_000  # a thread looks this often whether it is still wanted; a notification wakes it before
CLOSING_SLICE_NS = 10_000_000


def slice_end_ns(lifecycle: Lifecycle) -> int:
    return time.monotonic_ns() + (CLOSING_SLICE_NS if lifecycle.closing.is_set() else SLICE_NS)


class EventPump:
    """Reads the host's events, logs them, and calls back on loss of leadership, in order of registration."""

    def __init__(
        self, core: HostCore, lifecycle: Lifecycle, members_changed: Callable[[], None] = lambda: None
    ) -> None:
        """`members_changed` is called, on the events thread, when the group or an address of its members changed."""
        self._core = core
        self._lifecycle = lifecycle
        self._members_changed = members_changed
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._tickets = itertools.count()
        self._led_term = 0  # the term that this member is known to lead; 0 = none
        self._seen = (State.FOLLOWER, 0, 0)
        self.changed = threading.Condition()

    def register(self, fn: Callable[[], None]) -> Callable[[], None]:
        """Call `fn` after each loss of leadership, until the returned function is called, which may be done twice."""
        ticket = next(self._tickets)
        with self._lock:
            self._callbacks[ticket] = fn

        def deregister() -> None:
            with self._lock:
                self._callbacks.pop(ticket, None)

        return deregister

    def run(self) -> None:
        """The body of the thread."""
        while True:
            last_look = self._lifecycle.stopped  # read first: everything that was queued before is seen below
            while (event := self._core.next_event(0 if last_look else slice_end_ns(self._lifecycle))) is not None:
                try:
                    self._handle(*event)
                except Exception:
                    logger.exception("an event could not be handled")
            if last_look:
                break
        self._lose()  # a leader that was stopped at once had no time to say so

    def _handle(self, kind: int, role: int, term: int, leader: int, code: int) -> None:
        member = self._core.member_id
        if kind == EVENT_ROLE:
            self._role_changed(ROLES[role], term, leader)
        elif kind == EVENT_LEADER_LOST:
            self._led_term = self._led_term or term
            self._lose()
        elif kind == EVENT_FAILED:
            self._failed(code)
            self._lose()
        elif kind == EVENT_STALLED:
            logger.error(
                "member %d: the disk does not answer, leadership was given up",
                member,
                extra={"event": "stalled", "member": member, "term": term},
            )
        elif kind == EVENT_MEMBERS:
            self._members_changed()
        with self.changed:
            self.changed.notify_all()

    def _failed(self, code: int) -> None:
        failure = failure_name(code)
        if failure is None:
            return
        member = self._core.member_id
        because = f" ({state_diverged(self._core.gauges())})" if code == Code.DIVERGED else ""
        logger.error(
            "member %d has failed: %s%s",
            member,
            failure,
            because,
            extra={"event": "failed", "member": member, "cause": failure},
        )

    def _role_changed(self, state: State, term: int, leader: int) -> None:
        if self._led_term and (state is not State.LEADER or term != self._led_term):
            self._lose()
        if state is State.LEADER:
            self._led_term = term
        if (state, term, leader) == self._seen:
            return
        self._seen = (state, term, leader)
        member = self._core.member_id
        logger.info(
            "member %d is %s in term %d, leader %s",
            member,
            state,
            term,
            leader or "unknown",
            extra={"event": "role", "member": member, "state": str(state), "term": term, "leader": leader},
        )

    def _lose(self) -> None:
        if not self._led_term:
            return
        term, self._led_term = self._led_term, 0
        member = self._core.member_id
        logger.log(
            logging.INFO if self._lifecycle.closing.is_set() else logging.WARNING,
            "member %d no longer leads (term %d)",
            member,
            term,
            extra={"event": "leader_lost", "member": member, "term": term},
        )
        with self._lock:
            tickets = list(self._callbacks)
        for ticket in tickets:
            with self._lock:
                fn = self._callbacks.get(ticket)  # gone when an earlier callback took it back
            if fn is None:
                continue
            try:
                fn()
            except Exception:
                logger.exception("a callback on loss of leadership raised")


class ApplyPump:
    """Feeds a Python state machine with committed commands."""

    def __init__(self, core: HostCore, lifecycle: Lifecycle, machine: StateMachine) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._machine = machine

    def run(self) -> None:
        """The body of the thread."""
        while not self._lifecycle.stopped:
            try:
                entries = self._core.next_batch(slice_end_ns(self._lifecycle))
            except Exception:  # no memory for the batch, and nobody gives it out again: the machine would miss it
                logger.exception("committed commands could not be taken over")
                self._fail(Code.MEMORY)
                return
            if entries and not self._apply(entries):
                return

    def _apply(self, entries: list[tuple[int, int, int, bytes | None]]) -> bool:
        # An entry without a command is the core's own: a new leader's first, or a change of the configuration.
        batch = [Command(i, term, data) for i, term, kind, data in entries if kind == ENTRY_NORMAL and data is not None]
        try:
            answers: Sequence[bytes | None] = self._machine.apply(batch) if batch else ()
        except BaseException:
            logger.exception("%s.apply raised", type(self._machine).__name__)
            self._fail(Code.STATE_MACHINE_RAISED)
            return False
        trouble = trouble_with(answers, len(batch))
        if trouble:
            logger.error("%s.apply %s", type(self._machine).__name__, trouble)
            self._fail(Code.STATE_MACHINE_RESULTS)
            return False
        if len(batch) != len(entries):
            answers = spread(answers, entries)
        try:
            self._core.batch_applied(entries[-1][0], list(answers))
        except Exception:
            logger.exception("answers could not be handed on")
            self._fail(Code.MEMORY)
            return False
        return True

    def _fail(self, code: Code) -> None:
        member = self._core.member_id
        logger.error("member %d stops: its state machine failed", member, extra={"event": "apply", "member": member})
        self._core.fail(code)


def trouble_with(answers: object, expected: int) -> str | None:
    """What is wrong with the answers of a state machine."""
    if not isinstance(answers, list | tuple):
        return f"returned {type(answers).__name__} where a list or a tuple was wanted"
    if len(answers) != expected:
        return f"returned {len(answers)} answers to {expected} commands"
    for answer in answers:
        if answer is not None and not isinstance(answer, bytes):
            return f"returned {type(answer).__name__} where bytes or None were wanted"
    return None


def spread(answers: Sequence[bytes | None], entries: list[tuple[int, int, int, bytes | None]]) -> list[bytes | None]:
    """One answer an entry, None for those that carried no command."""
    rest = iter(answers)
    return [next(rest) if kind == ENTRY_NORMAL and data is not None else None for _, _, kind, data in entries]
