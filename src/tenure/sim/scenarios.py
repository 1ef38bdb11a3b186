"""One world per hazard, made so that a missing guard shows. The guards are those of the lease's contract.

A scenario is named after its hazard and made for the guard against it. Protections that would hide the guard's absence
are off in its world. They are not guards of the lease but habits of Raft that happen to help: check-quorum makes
followers refuse votes while they hear a leader (stickiness), pre-vote keeps a cut-off member from campaigning. Lease
safety rests on neither. `partners` would name guards that have to go together with it; none of these needs one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tenure.sim.profile import MS, PROFILES, US, Profile, S

__all__ = ["FROZEN_LEADER", "JUMPING_FOLLOWER", "SCENARIOS", "Scenario"]


@dataclass(frozen=True)
class Scenario:
    """A hazard, and a world in which the lack of its guard shows within `seeds` runs of `operations`."""

    hazard: str
    idea: str
    profile: Profile
    partners: tuple[str, ...] = ()  # guards switched off together with it
    operations: int = 30_000
    seeds: int = 60


# A cluster whose links break one by one and whose members vote for whoever may have their vote. It is almost idle, so
# that a member hears its leader seldom and lags in nothing, while readers keep asking the leader they know and writers
# look for one that they do not know yet.
_OPEN = Profile(
    pre_vote=False,
    check_quorum=False,
    heartbeat_ticks=60,
    clock_rate_max_ppm=0,
    clients=6,
    readers=4,
    keys=1,
    epoch_operations=300,
    lease_read_percent=100,
    read_percent=20,
    stray_percent=4,
    think_max_ns=60 * MS,
    writer_think_max_ns=40 * MS,
    probe_percent=100,
    client_timeout_ns=240 * MS,
    partition_every_ns=1 * S,
    isolate_percent=0,
    one_way_percent=20,
    leader_bias_percent=70,
    fault_min_ns=500 * MS,
    fault_max_ns=4 * S,
)

SCENARIOS: dict[str, Scenario] = {
    "H01": Scenario(
        "an acknowledgement stamped on receipt",
        "replies are held back for up to three seconds while the promises they carry run out",
        dataclasses.replace(_OPEN, hold_ppm=50_000, pause_every_ns=1 * S, pause_isolates_percent=80),
    ),
    "H02": Scenario(
        "no deadline compared at the read",
        "the leader is paused or cut off; reads reach it after its successor has acknowledged writes",
        dataclasses.replace(PROFILES["clocks"], keys=1, readers=4, pre_vote=True),
    ),
    "H03": Scenario(
        "a transfer leaves the lease standing",
        "leadership is handed over on a lossy network, so that the old leader may not hear of its successor",
        dataclasses.replace(
            _OPEN,
            transfer_every_ns=300 * MS,
            heartbeat_ticks=10,
            drop_ppm=150_000,
            fault_min_ns=50 * MS,
            fault_max_ns=1500 * MS,
        ),
    ),
    "H04": Scenario(
        "a restarted member forgot its promise",
        "followers crash and come back at once while the leader is cut off from the others",
        dataclasses.replace(
            _OPEN,
            crash_every_ns=800 * MS,
            down_min_ns=5 * MS,
            down_max_ns=300 * MS,
            partition_every_ns=3 * S,
            fault_min_ns=2 * S,
            fault_max_ns=8 * S,
            leader_bias_percent=-90,
        ),
    ),
    "H05": Scenario(
        "a promise tied to knowing a leader",
        "followers forget their leader while their promise to it still runs",
        dataclasses.replace(_OPEN, forget_every_ns=100 * MS, leader_bias_percent=-50),
    ),
    "H07": Scenario(
        "a stamp echoed without a promise",
        "followers whose clock cannot be read promise nothing, and the leader counts what it asked for",
        dataclasses.replace(
            _OPEN,
            clock_failure_every_ns=2500 * MS,
            pause_min_ns=1 * S,
            pause_max_ns=1800 * MS,
            partition_every_ns=3 * S,
            fault_min_ns=2 * S,
            fault_max_ns=8 * S,
            leader_bias_percent=-90,
        ),
    ),
    "H08": Scenario(
        "a promise that starts before the message was read",
        "a paused follower reads its queue with the clock reading of the pass before the pause",
        dataclasses.replace(
            _OPEN,
            pause_every_ns=1500 * MS,
            pause_min_ns=1 * S,
            pause_max_ns=1400 * MS,
            partition_every_ns=3 * S,
            fault_min_ns=2 * S,
            fault_max_ns=6 * S,
            leader_bias_percent=-90,
        ),
    ),
    "H11": Scenario(
        "one check serves many calls",
        "a reader trusts a positive check for two seconds, across the end of the lease",
        dataclasses.replace(PROFILES["clocks"], keys=1, readers=4),
    ),
    "H12": Scenario(
        "somebody is ahead of the lease holder",
        "the leader's state machine lags behind its commit index",
        dataclasses.replace(
            PROFILES["calm"],
            keys=1,
            apply_stall_every_ns=500 * MS,
            fault_max_ns=400 * MS,
            stray_percent=50,
            lease_read_percent=50,
            drop_ppm=5_000,
        ),
    ),
    "H13": Scenario(
        "a new leader does not know what its predecessor acknowledged",
        "leaders are cut off or lag in applying right before their successor takes over",
        dataclasses.replace(
            _OPEN,
            transfer_every_ns=150 * MS,
            apply_max_ns=20 * MS,
            delay_max_ns=10 * MS,
            drop_ppm=50_000,
            apply_stall_every_ns=500 * MS,
            fault_min_ns=20 * MS,
            fault_max_ns=400 * MS,
        ),
    ),
    "H19": Scenario(
        "the role changes before the lease is withdrawn",
        "a leader whose lease rests on a lagging link votes for another member",
        dataclasses.replace(
            _OPEN,
            tick_ns=50 * MS,
            election_ticks=20,
            heartbeat_ticks=12,
            promise_ns=950 * MS,
            drop_ppm=200_000,
            delay_min_ns=20 * US,
            delay_max_ns=300 * US,
            apply_max_ns=40 * MS,
            partition_every_ns=0,
            think_max_ns=100 * MS,
        ),
    ),
    "H20": Scenario(
        "a late extension revives a withdrawn lease",
        "leadership is handed over while coordinators sleep between the proof and the publication",
        dataclasses.replace(PROFILES["handover"], keys=1, readers=4),
    ),
}

# H09, which no guard covers: a hypervisor stops the leader's clock while its process runs on, cut off from the others.
# The checker has to report the stale read; that it does shows that the checker looks.
FROZEN_LEADER = dataclasses.replace(
    _OPEN,
    partition_every_ns=0,
    clock_freeze_every_ns=4 * S,
    freeze_isolates=True,
    leader_bias_percent=100,
    fault_min_ns=3 * S,
    fault_max_ns=5 * S,
)

# The same for a follower's clock that jumps further than the bound on rates leaves room for.
JUMPING_FOLLOWER = dataclasses.replace(
    _OPEN,
    clock_rate_max_ppm=10_000,
    clock_jump_max_ns=2 * S,
    clock_jump_leader_max_ns=0,
    clock_jump_every_ns=100 * MS,
    leader_bias_percent=-50,
)
