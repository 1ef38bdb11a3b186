"""What a simulated world is like: cluster, clocks, network, disks, clients, and how often what goes wrong.

A `Profile` is a plain immutable value; `dataclasses.replace` makes a variant. All quantities are integers (nanoseconds,
parts per million, percent), so that a run depends on nothing but them and the seed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

__all__ = ["FAULTS", "PROFILES", "Profile"]

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
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """`<fault>_every_ns` is the mean interval between two faults of a kind anywhere in the cluster; 0 = never."""

    members: int = 3
    clients: int = 8
    readers: int = 3  # of the clients: those that only read, by lease, and stay where they are answered
    keys: int = 3  # at a time; after `epoch_operations` operations all clients move to fresh ones
    epoch_operations: int = 600

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

    # disk and state machine
    sync_min_ns: int = 100 * US
    sync_max_ns: int = 400 * US
    apply_min_ns: int = 0
    apply_max_ns: int = 100 * US
    pass_max_ns: int = 0  # how long a loop pass may last before its output leaves

    # clients
    client_delay_max_ns: int = 100 * US
    client_timeout_ns: int = 800 * MS  # drawn anew for each operation, at least a quarter of it
    think_max_ns: int = 10 * MS
    writer_think_max_ns: int = 10 * MS  # of the clients that also write
    probe_percent: int = 0  # writes that try a member other than the one that acknowledged this client's last write
    reply_drop_ppm: int = 0
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
    late_extension_max_ns: int = 1 * S
    liveness_ns: int = 120 * S  # so long without an operation that ends well is a violation

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
)

PROFILES: dict[str, Profile] = {
    "calm": Profile(),
    "lossy": _LOSSY,
    "crashes": _CRASHES,
    "clocks": _CLOCKS,
    "handover": _HANDOVER,
    "swarm": _SWARM,
    "swarm5": dataclasses.replace(_SWARM, members=5),
    "swarm-plain-raft": dataclasses.replace(_SWARM, pre_vote=False, check_quorum=False),
    "swarm-no-lease": dataclasses.replace(_SWARM, promise_ns=0),
    "two": dataclasses.replace(_SWARM, members=2),
    "single": dataclasses.replace(_CRASHES, members=1, crash_every_ns=6 * S),
    "seven": dataclasses.replace(_SWARM, members=7),
}
