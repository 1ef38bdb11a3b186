"""`Config`: everything about a member that may be chosen, checked once, before anything is opened.

Durations are seconds as people write them, sizes are bytes; both say so in their names. A `Config` is immutable, so
it may be shared between members and threads. Whether a combination is safe is judged here and nowhere else: what
`options` hands to the compiled host is taken as it stands.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import warnings
from fractions import Fraction
from typing import Any, Literal

from tenure.errors import InvalidArgument

__all__ = ["Config", "UnsafeConfigWarning", "check_listen_address"]

NS = 1_000_000_000
MAX_PROMISE_NS = 10 * NS  # nobody promises for longer, whatever it is asked for
MAX_RATE_DENOMINATOR = 1000
# What the compiled host can count; further than anybody needs.
MAX_SECONDS = 1e9
MAX_TICKS = 1 << 29
MAX_WHOLE = 1 << 62
MAX_COUNT = (1 << 31) - 1
MAX_FRAME_BYTES = (1 << 32) - 1  # the length on the wire has 32 bits
LIMITS = {
    "max_inflight_messages": MAX_COUNT,
    "max_pending_reads": MAX_COUNT,
    "max_frame_bytes": MAX_FRAME_BYTES,
}


class UnsafeConfigWarning(UserWarning):
    """A setting that gives up a guarantee; meant for tests."""


def refuse(field: str, why: str) -> InvalidArgument:
    """The error for a bad value of `field`."""
    return InvalidArgument(f"{field}: {why}", field=field)


def check_listen_address(address: str, *, insecure: bool) -> None:
    """Refuse to listen where strangers can reach an unencrypted port, unless told to.

    Args:
        address: a numeric IPv4 or IPv6 address.
        insecure: the operator's explicit word.

    Raises:
        InvalidArgument: the address is no address, or not a loopback address.
    """
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise refuse("address", f"{address!r} is not a numeric address") from None
    if not (loopback or insecure):
        raise refuse("insecure", f"{address} is not loopback and nothing is encrypted; insecure=True accepts that")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one member.

    Attributes:
        tick_s: the step of the member's timers.
        heartbeat_s: how often a leader says that it leads; a whole number of ticks.
        election_timeout_s: silence after which a follower stands for election, randomised up to twice as long; a whole
            number of ticks, and longer than a heartbeat.
        promise_s: how long a member that answered the leader votes for nobody else; shorter than the election timeout,
            at most 10 s. None: one tick less than the election timeout.
        clock_rate_bound: how far the rate of any member's clock may be off. Linux slews clocks by up to a tenth, so a
            bound below that is a claim about the machines.
        reads: "lease" serves reads from the leader's lease and falls back to a quorum round; "read_index" always asks a
            quorum, for those who cannot bound clock drift.
        max_message_bytes: the largest message, and so the largest command.
        max_inflight_messages: appends on their way to one follower.
        max_inflight_bytes: the same in bytes.
        max_uncommitted_bytes: above it proposals are refused as `Overloaded`.
        max_pending_reads: quorum reads that wait on a leader; above it they are refused as `Overloaded`.
        max_frame_bytes: the largest frame accepted from a peer.
        max_queued_bytes: what waits for one slow peer; above it messages are dropped and sent again later.
        segment_bytes: size of one file of the log.
        snapshot_every: commands between two snapshots of the state machine, after which the log forgets what it no
            longer needs; 0 takes none. State machines in Python take none: their log is never compacted.
        max_snapshot_hold_bytes: of the log, and for each command 256 bytes more, that a leader keeps in memory for a
            member that is at a snapshot. Above it the member is offered the latest snapshot and begins anew.
        fsync: "always", or "never": a power cut then loses acknowledged writes. For tests, and warns.
        stall_limit_s: a write that takes longer costs the leader its leadership. None: the election timeout.
        call_timeout_s: the time limit of calls that name none.
        shutdown_timeout_s: how long a graceful stop may take.
        insecure: listen on addresses other than loopback although nothing is encrypted.

    Raises:
        InvalidArgument: a value makes no sense; the message and `details["field"]` name it.
    """

    tick_s: float = 0.01
    heartbeat_s: float = 0.1
    election_timeout_s: float = 1.0
    promise_s: float | None = None
    clock_rate_bound: Fraction = Fraction(1, 8)
    reads: Literal["lease", "read_index"] = "lease"
    max_message_bytes: int = 1 << 20
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 64 << 20
    max_uncommitted_bytes: int = 64 << 20
    max_pending_reads: int = 65_536
    max_frame_bytes: int = 16 << 20
    max_queued_bytes: int = 64 << 20
    segment_bytes: int = 64 << 20
    snapshot_every: int = 10_000
    max_snapshot_hold_bytes: int = 256 << 20
    fsync: Literal["always", "never"] = "always"
    stall_limit_s: float | None = None
    call_timeout_s: float = 10.0
    shutdown_timeout_s: float = 2.0
    insecure: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        self._check_times()
        self._check_sizes()
        if self.fsync == "never":
            warnings.warn(
                'fsync="never": a power cut loses writes that were acknowledged, and may break the cluster',
                UnsafeConfigWarning,
                stacklevel=3,
            )

    def _check_types(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_s"):
                if value is None and field.default is None:
                    continue
                number = isinstance(value, int | float) and not isinstance(value, bool)
                if not number or not 0 < value < math.inf:
                    raise refuse(field.name, f"{value!r} is not a positive number of seconds")
                if value > MAX_SECONDS:
                    raise refuse(field.name, f"{value!r} is more than {MAX_SECONDS:g} seconds")
            elif field.name.startswith("max_") or field.name == "segment_bytes":
                whole = isinstance(value, int) and not isinstance(value, bool)
                if not whole or value < 1:
                    raise refuse(field.name, f"{value!r} is not a positive whole number")
                most = LIMITS.get(field.name, MAX_WHOLE)
                if value > most:
                    raise refuse(field.name, f"{value!r} is more than {most}")
        every: object = self.snapshot_every
        if not isinstance(every, int) or isinstance(every, bool) or not 0 <= every <= MAX_WHOLE:
            raise refuse("snapshot_every", f"{every!r} is not a whole number of commands")
        if self.reads not in ("lease", "read_index"):
            raise refuse("reads", f'{self.reads!r} is neither "lease" nor "read_index"')
        if self.fsync not in ("always", "never"):
            raise refuse("fsync", f'{self.fsync!r} is neither "always" nor "never"')
        if not isinstance(self.insecure, bool):
            raise refuse("insecure", f"{self.insecure!r} is not a boolean")
        rate: object = self.clock_rate_bound
        if not isinstance(rate, Fraction) or not 0 <= rate < 1 or rate.denominator > MAX_RATE_DENOMINATOR:
            raise refuse(
                "clock_rate_bound",
                f"{rate!r} is not a Fraction from 0 to below 1 with a denominator of at most {MAX_RATE_DENOMINATOR}",
            )

    def _check_times(self) -> None:
        if not 1_000_000 <= self.tick_ns <= NS:
            raise refuse("tick_s", "a tick lasts between 1 ms and 1 s")
        self._whole_ticks("heartbeat_s", self.heartbeat_s)
        self._whole_ticks("election_timeout_s", self.election_timeout_s)
        if self.election_ticks <= self.heartbeat_ticks:
            raise refuse("election_timeout_s", "must be longer than heartbeat_s")
        if self.promise_s is None:
            return
        asked = round(self.promise_s * NS)
        if asked >= self.election_ticks * self.tick_ns:
            raise refuse("promise_s", "must be shorter than election_timeout_s, or failover waits for it")
        if asked > MAX_PROMISE_NS:
            raise refuse("promise_s", f"nobody promises for longer than {MAX_PROMISE_NS // NS} s")

    def _whole_ticks(self, field: str, seconds: float) -> None:
        ticks = seconds / self.tick_s
        if ticks < 1 or abs(ticks - round(ticks)) > 1e-6:
            raise refuse(field, f"{seconds} s is not a whole number of ticks of {self.tick_s} s")
        if ticks > MAX_TICKS:
            raise refuse(field, f"{seconds} s is more than {MAX_TICKS} ticks of {self.tick_s} s")

    def _check_sizes(self) -> None:
        if self.max_frame_bytes < 2 * self.max_message_bytes:
            raise refuse("max_frame_bytes", "must hold two messages of max_message_bytes: headers need room too")
        if self.max_queued_bytes < self.max_frame_bytes:
            raise refuse("max_queued_bytes", "must hold at least one frame of max_frame_bytes")
        if self.segment_bytes < 2 * self.max_message_bytes:
            raise refuse("segment_bytes", "must hold two messages of max_message_bytes: headers need room too")
        if self.max_uncommitted_bytes < self.max_message_bytes:
            raise refuse("max_uncommitted_bytes", "must hold at least one message of max_message_bytes")

    @property
    def tick_ns(self) -> int:
        """The tick in nanoseconds."""
        return round(self.tick_s * NS)

    @property
    def election_ticks(self) -> int:
        """The election timeout in ticks."""
        return round(self.election_timeout_s / self.tick_s)

    @property
    def heartbeat_ticks(self) -> int:
        """The heartbeat interval in ticks."""
        return round(self.heartbeat_s / self.tick_s)

    @property
    def promise_ns(self) -> int:
        """The promise that a leader asks for, in nanoseconds; 0 without leases."""
        if self.reads == "read_index":
            return 0
        if self.promise_s is not None:
            return round(self.promise_s * NS)
        return min((self.election_ticks - 1) * self.tick_ns, MAX_PROMISE_NS)

    @property
    def lease_ns(self) -> int:
        """What one answer of a quorum is worth in nanoseconds, before the granularity of the clock is taken off."""
        rate = self.clock_rate_bound
        return self.promise_ns * (rate.denominator - rate.numerator) // (rate.denominator + rate.numerator)

    def options(self) -> dict[str, Any]:
        """The settings by the names that the compiled host knows."""
        return {
            "election_ticks": self.election_ticks,
            "heartbeat_ticks": self.heartbeat_ticks,
            "promise_ns": self.promise_ns,
            "rate_numerator": self.clock_rate_bound.numerator,
            "rate_denominator": self.clock_rate_bound.denominator,
            "max_message_bytes": self.max_message_bytes,
            "max_inflight_messages": self.max_inflight_messages,
            "max_inflight_bytes": self.max_inflight_bytes,
            "max_uncommitted_bytes": self.max_uncommitted_bytes,
            "max_pending_reads": self.max_pending_reads,
            "tick_ns": self.tick_ns,
            "stall_limit_ns": round((self.stall_limit_s or self.election_timeout_s) * NS),
            "shutdown_limit_ns": round(self.shutdown_timeout_s * NS),
            "segment_bytes": self.segment_bytes,
            "snapshot_every": self.snapshot_every,
            "snapshot_hold_bytes": self.max_snapshot_hold_bytes,
            "fsync": self.fsync == "always",
            "max_frame_bytes": self.max_frame_bytes,
            "max_queued_bytes": self.max_queued_bytes,
        }
