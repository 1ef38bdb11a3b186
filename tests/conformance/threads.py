"""Storage threads of one member, as etcd/raft's asynchronous storage writes: work is queued, done, answered, heard of.

A Ready becomes one message to the append thread and one to the apply thread. The threads do their work only when told,
and what they answer travels through the cluster's queue like any other message. This member's own acknowledgements,
which the core keeps to itself until the write is durable, are shown as the messages to itself that they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tenure._raft.node import Entry, HardState, Message, RawNode, Ready, Snapshot, describe_entries

APPEND_THREAD, APPLY_THREAD = "AppendThread", "ApplyThread"


@dataclass
class LocalMessage:
    """From a thread, or from this member itself: never lost, and handled by a call."""

    to: int
    type: str
    text: str
    handle: Callable[[], None]
    from_: int = 0  # no member

    def __str__(self) -> str:
        return self.text


@dataclass
class Work:
    text: str
    ready: Ready
    responses: list[Message | LocalMessage] = field(default_factory=list)

    def describe(self, *, with_responses: bool = True) -> str:
        if not self.responses or not with_responses:
            return self.text
        return self.text + " Responses:[" + "".join(f"\n  {response}" for response in self.responses) + "\n]"


@dataclass
class Write:
    """A Ready handed out; acknowledged in order, once it is written and one of its local responses has arrived."""

    number: int
    heard: bool


def entries_text(entries: Iterable[Entry]) -> str:
    lines = [describe_entries([entry]).rstrip("\n") for entry in entries]
    if not lines:
        return ""
    return f" Entries:[{lines[0]}]" if len(lines) == 1 else " Entries:[" + "".join(f"\n  {x}" for x in lines) + "\n]"


def snapshot_text(snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return ""
    return "\n" + str(Message("MsgSnap", from_=1, to=1, snapshot=snapshot)).split("\n", 1)[1]


def hard_state_text(hard: HardState | None) -> str:
    if hard is None:
        return " Term:0 Log:0/0"
    text = f" Term:{hard.term} Log:0/0"
    text += f" Commit:{hard.commit}" if hard.commit else ""
    return text + (f" Vote:{hard.vote}" if hard.vote else "")


class StorageThreads:
    """`acknowledge` and `applied` tell the member's core what the threads have done."""

    def __init__(self, node: RawNode, acknowledge: Callable[[int], None], applied: Callable[[int], None]) -> None:
        self.node = node
        self.acknowledge = acknowledge
        self.applied = applied
        self.append_work: list[Work] = []
        self.apply_work: list[Work] = []
        self.writes: list[Write] = []

    # ---- a Ready becomes work

    def take(self, ready: Ready) -> str:
        """Queue the work; the Ready's text."""
        text = ready.describe_sent_at_once().rstrip("\n")
        work = [*self.queue_append(ready), *self.queue_apply(ready)]
        if not work:
            return text
        if not ready.messages:
            text += "\nMessages:"
        if text.startswith("<empty Ready>"):
            text = text.replace("<empty Ready>", f"Ready MustSync={str(ready.must_sync).lower()}:")
        return "\n".join([text, *(each.describe() for each in work)])

    def queue_append(self, ready: Ready) -> list[Work]:
        node, number = self.node, ready.number
        own = node.own_responses(number)
        nothing = not (ready.entries or ready.hard_state or ready.snapshot or ready.after_append or own)
        self.writes.append(Write(number, heard=nothing))
        if nothing:
            self.acknowledge_in_order()
            return []
        text = f"{node.id}->{APPEND_THREAD} MsgStorageAppend{hard_state_text(ready.hard_state)}"
        work = Work(text + entries_text(ready.entries) + snapshot_text(ready.snapshot), ready)
        work.responses = list(ready.after_append)
        for message, behind in reversed(own):
            work.responses.insert(behind, self.local(message.type, str(message), number))
        unstable = node.stable < node.last_index
        if unstable or ready.snapshot:
            last = f"{node.entries[-1].term}/{node.last_index}" if unstable else "0/0"
            text = f"{APPEND_THREAD}->{node.id} MsgStorageAppendResp Term:{node.term} Log:{last}"
            work.responses.append(self.local("MsgStorageAppendResp", text + snapshot_text(ready.snapshot), number))
        self.append_work.append(work)
        return [work]

    def queue_apply(self, ready: Ready) -> list[Work]:
        if not ready.committed:
            return []
        entries, last = entries_text(ready.committed), ready.committed[-1].index
        work = Work(f"{self.node.id}->{APPLY_THREAD} MsgStorageApply Term:0 Log:0/0{entries}", ready)
        text = f"{APPLY_THREAD}->{self.node.id} MsgStorageApplyResp Term:0 Log:0/0{entries}"
        work.responses.append(LocalMessage(self.node.id, "MsgStorageApplyResp", text, lambda: self.applied(last)))
        self.apply_work.append(work)
        return [work]

    # ---- what was written is acknowledged in the order of the Readys

    def local(self, kind: str, text: str, number: int) -> LocalMessage:
        return LocalMessage(self.node.id, kind, text, lambda: self.hear(number))

    def written(self, work: Work) -> None:
        if not any(isinstance(response, LocalMessage) for response in work.responses):
            self.hear(work.ready.number)

    def hear(self, number: int) -> None:
        for write in self.writes:
            write.heard = write.heard or write.number == number
        self.acknowledge_in_order()

    def acknowledge_in_order(self) -> None:
        while self.writes and self.writes[0].heard:
            self.acknowledge(self.writes.pop(0).number)
