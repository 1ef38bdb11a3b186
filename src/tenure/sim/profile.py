"""What a simulated world is like: cluster, clocks, network, disks, clients, and how often what goes wrong.

A `Profile` is a plain immutable value; `dataclasses.replace` makes a variant. All quantities are integers (nanoseconds,
parts per million, percent), so that a run depends on nothing but them and the seed.

`random_profile` draws a world from a seed: how many members, which faults at all and how often, how slow the disks, how
lossy the network. What two faults break together is found by a world that has both, what one of them hides by a world
that lacks it; so every seed leaves something out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FAULTS", "PROFILES", "Profile", "random_profile"]

US = 1_000
MS = 1_000_000
S = 1_000_000_000

# The order is that of the compiled simulator's FaultKind.
FAULTS = (
    "partition",
    "pause",
    "crash",
    "disk_stall",
    "apply_stall",
    "clock_failure",
    "clock_freeze",
    "clock_rate",
    "transfer",
    "step_down",
    "forget",
    "late_extension",
    "slow_disk",
    "disk_failure",
    "clock_jump",
    "change",
    "wipe",
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`<fault>_every_ns` is the mean interval between two faults of a kind anywhere in the cluster; 0 = never."""

    members: int = 3
    spares: int = 0  # processes outside of the configuration, to be added
    joint_percent: int = 50  # changes of the membership by way of a joint configuration
    least_voters: int = 1
    clients: int = 8
    readers: int = 3  # of the clients: those that only read, by lease, and stay where they are answered
    keys: int = 3  # at a time; after `epoch_operations` operations all clients move to fresh ones
    epoch_operations: int = 600
    epoch_unknown: int = 20  # and after so many writes a key that nobody knows the outcome of; 0 = does not matter

    # the core's configuration
    tick_ns: int = 10 * MS
    election_ticks: int = 100
    heartbeat_ticks: int = 10
    pre_vote: bool = True
    check_quorum: bool = True
    promise_ns: int = 990 * MS  # D; 0 = no leases
    rate_numerator: int = 1  # r
    rate_denominator: int = 8
    granularity_ns: int = 1 * US  # g
    max_inflight_messages: int = 64

    # network between members
    delay_min_ns: int = 50 * US
    delay_max_ns: int = 1 * MS
    drop_ppm: int = 0
    duplicate_ppm: int = 0
    hold_ppm: int = 0  # messages that arrive up to `hold_max_ns` later
    hold_max_ns: int = 3 * S
    hold_vote_percent: int = 0  # votes that arrive late, when the election may be over
    hold_timeout_now_percent: int = 0  # orders to take over that arrive late, often after the transfer was given up

    # disk and state machine
    sync_min_ns: int = 100 * US
    sync_max_ns: int = 400 * US
    slow_sync_min_ns: int = 20 * MS
    slow_sync_max_ns: int = 300 * MS
    stall_limit_ns: int = 1 * S  # a write that takes longer costs a leader its leadership
    snapshot_every: int = 0  # entries applied; 0 = never
    snapshot_trailing: int = 40  # entries kept behind a snapshot
    snapshot_transfer_min_ns: int = 1 * MS  # of its file to a member that lags
    snapshot_transfer_max_ns: int = 300 * MS
    snapshot_patience_ns: int = 1500 * MS  # without progress a sender begins anew
    apply_min_ns: int = 0
    apply_max_ns: int = 100 * US
    pass_max_ns: int = 0  # how long a loop pass may last before its output leaves

    # clients
    client_delay_max_ns: int = 100 * US
    client_timeout_ns: int = 800 * MS  # drawn anew for each operation, at least a quarter of it
    think_max_ns: int = 10 * MS
    writer_think_max_ns: int = 10 * MS  # of the clients that also write
    refused_wait_ns: int = 20 * MS  # somebody who is refused does not come back at once
    probe_percent: int = 0  # writes that try a member other than the one that acknowledged this client's last write
    reply_drop_ppm: int = 0
    retry_percent: int = 0  # writes that are tried again, in their session, when nobody answers
    max_attempts: int = 4
    sessions: bool = True  # without them a retried write may take effect twice
    read_percent: int = 50
    lease_read_percent: int = 70  # of the other clients' reads; the rest asks for a ReadIndex round
    stray_percent: int = 20  # operations sent to any member rather than to the believed leader
    read_stall_ppm: int = 5_000  # lease reads whose reader sleeps between its check and its read
    read_stall_max_ns: int = 200 * MS
    check_cache_ns: int = 2 * S  # guard H11 off: how long a reader trusts one check

    # clocks
    clock_offset_max_ns: int = 1_000 * S
    clock_rate_max_ppm: int = 100_000  # within r

    # faults
    partition_every_ns: int = 0
    pause_every_ns: int = 0
    crash_every_ns: int = 0
    disk_stall_every_ns: int = 0
    apply_stall_every_ns: int = 0
    clock_failure_every_ns: int = 0
    clock_freeze_every_ns: int = 0
    clock_rate_every_ns: int = 0
    transfer_every_ns: int = 0
    step_down_every_ns: int = 0
    forget_every_ns: int = 0
    late_extension_every_ns: int = 0
    slow_disk_every_ns: int = 0
    disk_failure_every_ns: int = 0
    clock_jump_every_ns: int = 0  # forward
    change_every_ns: int = 0  # of the membership
    wipe_every_ns: int = 0  # never drawn: a scenario that loses a disk says when
    fault_min_ns: int = 50 * MS
    fault_max_ns: int = 3 * S
    pause_min_ns: int = 20 * MS  # of a pause, and of a clock that cannot be read
    pause_max_ns: int = 2 * S
    down_min_ns: int = 20 * MS
    down_max_ns: int = 2 * S
    leader_bias_percent: int = 50  # faults that seek out the leader; negative: that avoid it
    one_way_percent: int = 40  # partitions that block one direction only
    isolate_percent: int = 60  # partitions that cut a member off; the others cut one link
    pause_isolates_percent: int = 0  # pauses that begin with waiting messages and go on with a cut network
    freeze_isolates: bool = False  # a member whose clock stops is cut off from the others for as long
    transfer_cut_percent: int = 0  # transfers whose target becomes unreachable while they are on
    clock_jump_max_ns: int = 0  # what the rates must leave of their bound: D (1 - (1-r)(1+x) / ((1+r)(1-x))), x = rate
    clock_jump_leader_max_ns: int = 5 * S  # a leader's clock may jump as far as it likes
    late_extension_max_ns: int = 1 * S
    calm_after_ns: int = 20 * S  # without an operation that ends well, until one does: no more faults; 0 = they go on
    liveness_ns: int = 30 * S  # in such a calm, so long since the last fault, without an operation that ends well
    write_liveness_ns: int = 0  # and without a write that ends well; 0 = is none

    def compiled(self) -> dict[str, object]:
        """The fields as the compiled simulator takes them."""
        fields = dataclasses.asdict(self)
        every = [fields.pop(f"{fault}_every_ns") for fault in FAULTS]
        return {**fields, "every_ns": every}


# A rough place: nothing goes wrong for long, but something is always about to.
_LOSSY = Profile(
    drop_ppm=20_000,
    duplicate_ppm=20_000,
    hold_ppm=5_000,
    delay_max_ns=5 * MS,
    reply_drop_ppm=2_000,
    partition_every_ns=1500 * MS,
)
_CRASHES = Profile(
    drop_ppm=2_000,
    hold_ppm=1_000,
    crash_every_ns=1 * S,
    disk_stall_every_ns=4 * S,
    partition_every_ns=4 * S,
    down_max_ns=1_500 * MS,
)
_CLOCKS = Profile(
    clock_rate_max_ppm=124_000,
    clock_rate_every_ns=3 * S,
    clock_failure_every_ns=2 * S,
    pause_every_ns=2 * S,
    partition_every_ns=2 * S,
)
_HANDOVER = Profile(
    transfer_every_ns=400 * MS,
    step_down_every_ns=3 * S,
    late_extension_every_ns=50 * MS,
    partition_every_ns=3 * S,
    drop_ppm=20_000,
    hold_ppm=5_000,
    pause_every_ns=5 * S,
)
_JUMPS = Profile(
    clock_rate_max_ppm=10_000,
    clock_jump_max_ns=190 * MS,
    clock_jump_every_ns=300 * MS,
    partition_every_ns=1500 * MS,
    pause_every_ns=4 * S,
    crash_every_ns=6 * S,
    drop_ppm=10_000,
    hold_ppm=2_000,
)
_DISKS = Profile(
    disk_stall_every_ns=1500 * MS,
    slow_disk_every_ns=1 * S,
    disk_failure_every_ns=2 * S,
    crash_every_ns=5 * S,
    partition_every_ns=6 * S,
    pass_max_ns=200 * US,
    retry_percent=50,
)
_SNAPSHOTS = Profile(
    snapshot_every=60,
    snapshot_trailing=10,
    crash_every_ns=1500 * MS,
    partition_every_ns=1 * S,
    disk_stall_every_ns=6 * S,
    transfer_every_ns=4 * S,
    drop_ppm=10_000,
    duplicate_ppm=10_000,
    hold_ppm=2_000,
    read_percent=20,
    apply_max_ns=1 * MS,
    max_inflight_messages=8,
)
_RETRIES = Profile(
    drop_ppm=50_000,
    hold_ppm=5_000,
    reply_drop_ppm=50_000,
    retry_percent=90,
    client_timeout_ns=400 * MS,
    partition_every_ns=1 * S,
    crash_every_ns=3 * S,
    transfer_every_ns=3 * S,
    snapshot_every=100,
    read_percent=30,
)
_TRANSFERS = Profile(
    transfer_every_ns=300 * MS,
    transfer_cut_percent=40,
    hold_timeout_now_percent=40,
    fault_max_ns=2 * S,
    drop_ppm=20_000,
    hold_ppm=5_000,
    delay_max_ns=5 * MS,
    crash_every_ns=8 * S,
    late_extension_every_ns=100 * MS,
)
_MEMBERSHIP = Profile(
    spares=3,
    change_every_ns=300 * MS,
    crash_every_ns=3 * S,
    partition_every_ns=2 * S,
    transfer_every_ns=2 * S,
    drop_ppm=10_000,
    hold_ppm=2_000,
    snapshot_every=100,
    snapshot_trailing=10,
    apply_max_ns=1 * MS,
)
_SWARM = Profile(
    drop_ppm=10_000,
    duplicate_ppm=10_000,
    hold_ppm=2_000,
    delay_max_ns=3 * MS,
    reply_drop_ppm=1_000,
    pass_max_ns=200 * US,
    apply_max_ns=2 * MS,
    clock_rate_max_ppm=124_000,
    partition_every_ns=2 * S,
    pause_every_ns=2500 * MS,
    crash_every_ns=3 * S,
    disk_stall_every_ns=6 * S,
    apply_stall_every_ns=4 * S,
    clock_failure_every_ns=6 * S,
    clock_rate_every_ns=6 * S,
    transfer_every_ns=2 * S,
    step_down_every_ns=8 * S,
    forget_every_ns=2 * S,
    late_extension_every_ns=200 * MS,
    slow_disk_every_ns=6 * S,
    disk_failure_every_ns=12 * S,
    spares=1,
    change_every_ns=4 * S,
    transfer_cut_percent=20,
    hold_timeout_now_percent=20,
    snapshot_every=300,
    retry_percent=30,
)

PROFILES: dict[str, Profile] = {
    "calm": Profile(),
    "lossy": _LOSSY,
    "crashes": _CRASHES,
    "clocks": _CLOCKS,
    "handover": _HANDOVER,
    "jumps": _JUMPS,
    "disks": _DISKS,
    "snapshots": _SNAPSHOTS,
    "retries": _RETRIES,
    "transfers": _TRANSFERS,
    "membership": _MEMBERSHIP,
    "swarm": _SWARM,
    "swarm5": dataclasses.replace(_SWARM, members=5),
    "swarm-plain-raft": dataclasses.replace(_SWARM, pre_vote=False, check_quorum=False, change_every_ns=0),
    "swarm-no-lease": dataclasses.replace(_SWARM, promise_ns=0),
    "two": dataclasses.replace(_SWARM, members=2),
    "single": dataclasses.replace(_CRASHES, members=1, crash_every_ns=6 * S),
    "seven": dataclasses.replace(_SWARM, members=7, spares=0),
}


class _Luck:
    """splitmix64, so that a seed means the same world everywhere."""

    def __init__(self, seed: int) -> None:
        self.state = (seed * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) & (1 << 64) - 1

    def next(self) -> int:
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        mixed = self.state
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
        return mixed ^ mixed >> 31

    def hit(self, percent: int) -> bool:
        return self.next() % 100 < percent

    def between(self, low: int, high: int) -> int:
        return low + self.next() % (high - low + 1)

    def among(self, choices: Sequence[int]) -> int:
        return choices[self.next() % len(choices)]

    def sometimes(self, percent: int, low: int, high: int) -> int:
        """0, or with that chance a number between the bounds, small ones as often as large ones."""
        if not self.hit(percent):
            return 0
        number = low
        while number < high and self.hit(60):
            number = min(high, number * 2)
        return self.between(low, max(low, number))


def random_profile(seed: int) -> Profile:
    """The world of this seed: every fault there is, some of them left out, at intervals and strengths of its own."""
    luck = _Luck(seed)
    jumps = luck.hit(20)
    every = {
        "partition": luck.sometimes(80, 800 * MS, 8 * S),
        "pause": luck.sometimes(60, 1 * S, 10 * S),
        "crash": luck.sometimes(70, 800 * MS, 10 * S),
        "disk_stall": luck.sometimes(50, 2 * S, 12 * S),
        "apply_stall": luck.sometimes(50, 1 * S, 10 * S),
        "clock_failure": luck.sometimes(40, 2 * S, 12 * S),
        "clock_rate": luck.sometimes(50, 1 * S, 10 * S),
        "transfer": luck.sometimes(60, 300 * MS, 6 * S),
        "step_down": luck.sometimes(40, 2 * S, 10 * S),
        "forget": luck.sometimes(40, 500 * MS, 4 * S),
        "late_extension": luck.sometimes(50, 50 * MS, 500 * MS),
        "slow_disk": luck.sometimes(50, 1 * S, 8 * S),
        "disk_failure": luck.sometimes(40, 3 * S, 15 * S),
        "clock_jump": luck.between(300 * MS, 2 * S) if jumps else 0,
        "change": luck.sometimes(75, 300 * MS, 4 * S),
    }
    members = luck.among((3, 3, 3, 3, 5, 5, 2, 4, 7, 1))
    pre_vote, check_quorum = luck.hit(75), luck.hit(75)
    if not pre_vote and not check_quorum:
        every["change"] = 0  # nobody then tells a leader of a higher term that a removed member may have come back with
    drawn = Profile(
        members=members,
        spares=luck.between(0, min(3, 7 - members)),
        joint_percent=luck.between(0, 100),
        least_voters=luck.between(1, 3),
        clients=luck.between(4, 10),
        readers=luck.between(1, 4),
        keys=luck.between(1, 4),
        pre_vote=pre_vote,
        check_quorum=check_quorum,
        promise_ns=0 if luck.hit(5) else 990 * MS,
        max_inflight_messages=luck.among((1, 4, 64, 256)),
        delay_max_ns=luck.between(100 * US, 10 * MS),
        drop_ppm=luck.sometimes(70, 1_000, 100_000),
        duplicate_ppm=luck.sometimes(50, 1_000, 50_000),
        hold_ppm=luck.sometimes(60, 500, 20_000),
        hold_vote_percent=luck.sometimes(40, 5, 50),
        hold_timeout_now_percent=luck.sometimes(50, 10, 80),
        sync_max_ns=luck.between(100 * US, 10 * MS),
        snapshot_every=luck.sometimes(70, 20, 1_000),
        snapshot_trailing=luck.between(0, 50),
        apply_max_ns=luck.sometimes(80, 50 * US, 10 * MS),
        pass_max_ns=luck.sometimes(50, 10 * US, 1 * MS),
        client_timeout_ns=luck.between(200 * MS, 1_200 * MS),
        think_max_ns=luck.between(1 * MS, 8 * MS),
        writer_think_max_ns=luck.between(2 * MS, 40 * MS),
        refused_wait_ns=50 * MS,
        reply_drop_ppm=luck.sometimes(50, 500, 50_000),
        retry_percent=luck.sometimes(60, 20, 100),
        read_percent=luck.between(20, 70),
        stray_percent=luck.between(2, 30),
        clock_rate_max_ppm=10_000 if jumps else luck.between(0, 124_000),
        fault_max_ns=luck.between(500 * MS, 4 * S),
        pause_max_ns=luck.between(500 * MS, 3 * S),
        down_max_ns=luck.between(200 * MS, 3 * S),
        leader_bias_percent=luck.among((50, 70, 0, -50)),
        one_way_percent=luck.between(0, 80),
        isolate_percent=luck.between(0, 100),
        pause_isolates_percent=luck.sometimes(30, 20, 80),
        transfer_cut_percent=luck.sometimes(60, 20, 80),
        clock_jump_max_ns=190 * MS if jumps else 0,
        **{f"{fault}_every_ns": interval for fault, interval in every.items()},  # type: ignore[arg-type]
    )
    if not luck.hit(30):
        return drawn
    # Leaders are cut off until their lease has run out, with readers that stay to the end.
    return dataclasses.replace(
        drawn,
        readers=4,
        think_max_ns=luck.between(2 * MS, 8 * MS),
        partition_every_ns=luck.between(1 * S, 2 * S),
        fault_min_ns=900 * MS,
        fault_max_ns=luck.between(2 * S, 4 * S),
        leader_bias_percent=90,
        isolate_percent=95,
        one_way_percent=20,
    )
