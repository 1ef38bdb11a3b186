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
from tenure.sim.schedule import Fault
from tenure.sim.simulation import Simulation, SimulationReport

__all__ = ["FROZEN_LEADER", "JUMPING_FOLLOWER", "SCENARIOS", "Scenario"]


TWO = "two members hold a valid lease"
COMMIT = "an entry of a higher term is committed under a valid lease"
BEHIND = "the lease holder has not applied what was applied elsewhere"
AHEAD = "a message carries a commit index above its sender's applied index"
STALE_READ = "a lease read is served where not everything applied elsewhere is applied"
READ_INDEX = "a read is confirmed at an index below what was applied before it"
NO_WRITE = "no write ended well for too long"
UNSAFE_LEASE = (TWO, COMMIT, BEHIND)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A hazard, and a world in which the lack of its guard shows within `seeds` runs.

    `breaks` names the invariants of which one must fail without the guard; where `history` is true, the clients'
    history alone must then be unexplainable too. A guard that is a setting rather than a piece of code is left out by
    `without`, the world that lacks the setting. `faults`, where given, are played instead of drawn ones.
    """

    hazard: str
    idea: str
    profile: Profile
    breaks: tuple[str, ...] = UNSAFE_LEASE
    history: bool = True
    partners: tuple[str, ...] = ()  # guards switched off together with it
    without: Profile | None = None
    faults: tuple[Fault, ...] | None = None
    operations: int | None = 30_000
    until_ns: int | None = None
    seeds: int = 60

    def play(self, name: str, seed: int, *, guarded: bool, invariants: bool = True) -> SimulationReport:
        """One run, with the guard of this name or without it."""
        profile, off = self.profile, set[str]()
        if not guarded:
            profile = self.without or profile
            off = set(self.partners) if self.without else {name, *self.partners}
        simulation = Simulation(seed, profile, off, invariants=invariants, faults=self.faults)
        return simulation.run(operations=self.operations, until_ns=self.until_ns)


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

# Everybody asks a quorum; acknowledgements may take seconds.
_READ_INDEX = dataclasses.replace(
    _OPEN,
    promise_ns=0,
    heartbeat_ticks=10,
    hold_ppm=100_000,
    readers=0,
    lease_read_percent=0,
    read_percent=60,
    isolate_percent=50,
    one_way_percent=50,
)
# Nothing is left to chance but who is elected and when; faults come by the clock.
_STEADY = dataclasses.replace(
    _OPEN,
    partition_every_ns=0,
    heartbeat_ticks=10,
    delay_min_ns=1 * MS,
    delay_max_ns=1 * MS,
    sync_min_ns=200 * US,
    sync_max_ns=200 * US,
    apply_max_ns=0,
    stray_percent=20,
)


def _first_leads(members: int) -> tuple[Fault, ...]:
    """Whoever leads after two seconds hands over to member 1."""
    return tuple(Fault(kind="transfer", at_ns=3 * S, member=member, other=1) for member in range(2, members + 1))


def _cut(at_ns: int, member: int, other: int) -> Fault:
    """Their link, for longer than it matters."""
    return Fault(kind="partition", at_ns=at_ns, member=member, other=other, until_ns=9 * S)


_DYING_LEADERS = dataclasses.replace(
    PROFILES["calm"],
    crash_every_ns=45 * S,
    think_max_ns=50 * MS,
    writer_think_max_ns=50 * MS,
    leader_bias_percent=100,
    down_min_ns=15 * S,
    down_max_ns=15 * S,
    write_liveness_ns=6 * S,
)

SCENARIOS: dict[str, Scenario] = {
    "H01": Scenario(
        hazard="an acknowledgement stamped on receipt",
        idea="replies are held back for up to three seconds while the promises they carry run out",
        profile=dataclasses.replace(_OPEN, hold_ppm=50_000, pause_every_ns=1 * S, pause_isolates_percent=80),
    ),
    "H02": Scenario(
        hazard="no deadline compared at the read",
        idea="the leader is paused or cut off; reads reach it after its successor has acknowledged writes",
        profile=dataclasses.replace(PROFILES["clocks"], keys=1, readers=4, pre_vote=True),
        breaks=(STALE_READ,),
    ),
    "H03": Scenario(
        hazard="a transfer leaves the lease standing",
        idea="leadership is handed over on a lossy network, so that the old leader may not hear of its successor",
        profile=dataclasses.replace(
            _OPEN,
            transfer_every_ns=300 * MS,
            heartbeat_ticks=10,
            drop_ppm=150_000,
            fault_min_ns=50 * MS,
            fault_max_ns=1500 * MS,
        ),
    ),
    "H04": Scenario(
        hazard="a restarted member forgot its promise",
        idea="followers crash and come back at once while the leader is cut off from the others",
        profile=dataclasses.replace(
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
        hazard="a promise tied to knowing a leader",
        idea="followers forget their leader while their promise to it still runs",
        profile=dataclasses.replace(_OPEN, forget_every_ns=100 * MS, leader_bias_percent=-50),
    ),
    "H06": Scenario(
        hazard="ticks counted as time",
        idea="a leader is paused; its readers compare the deadline with the ticks it has counted since",
        profile=dataclasses.replace(PROFILES["clocks"], keys=1, readers=4),
        breaks=(STALE_READ,),
    ),
    "H07": Scenario(
        hazard="a stamp echoed without a promise",
        idea="followers whose clock cannot be read promise nothing, and the leader counts what it asked for",
        profile=dataclasses.replace(
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
        hazard="a promise that starts before the message was read",
        idea="a paused follower reads its queue with the clock reading of the pass before the pause",
        profile=dataclasses.replace(
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
    "H10": Scenario(
        hazard="clock rates that differ by more than the bound",
        idea="a slow leader loses touch with its slow follower long after all clocks were compared; the fast one votes",
        profile=dataclasses.replace(_OPEN, pre_vote=True, partition_every_ns=0, stray_percent=20, heartbeat_ticks=70),
        faults=(
            *(Fault(kind="clock_rate", at_ns=2 * S, member=member, rate_ppm=-400_000) for member in (1, 2)),
            Fault(kind="clock_rate", at_ns=2 * S, member=3, rate_ppm=400_000),
            Fault(kind="crash", at_ns=2 * S + 1, member=3, until_ns=9 * S),
            Fault(kind="partition", at_ns=24 * S, member=1, other=2, until_ns=27_300 * MS),
        ),
        operations=None,
        until_ns=28 * S,
        seeds=120,
    ),
    "H11": Scenario(
        hazard="one check serves many calls",
        idea="a reader trusts a positive check for two seconds, across the end of the lease",
        profile=dataclasses.replace(PROFILES["clocks"], keys=1, readers=4),
        breaks=(STALE_READ,),
    ),
    "H12": Scenario(
        hazard="somebody is ahead of the lease holder",
        idea="the leader's state machine lags behind its commit index",
        profile=dataclasses.replace(
            PROFILES["calm"],
            keys=1,
            apply_stall_every_ns=500 * MS,
            fault_max_ns=400 * MS,
            stray_percent=50,
            lease_read_percent=50,
            drop_ppm=5_000,
        ),
        breaks=(AHEAD, BEHIND),
    ),
    "H13": Scenario(
        hazard="a new leader does not know what its predecessor acknowledged",
        idea="leaders are cut off or lag in applying right before their successor takes over",
        profile=dataclasses.replace(
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
    "H14": Scenario(
        hazard="a single voter taken for this member",
        idea="members are removed until one votes, also by joint configurations; who was cut off goes on reading",
        profile=dataclasses.replace(
            _READ_INDEX,
            members=2,
            spares=1,
            change_every_ns=400 * MS,
            joint_percent=60,
            hold_ppm=0,
            isolate_percent=60,
            one_way_percent=20,
        ),
        breaks=(READ_INDEX,),
    ),
    "H15": Scenario(
        hazard="a removed leader",
        idea="a leader of four is removed and loses touch with two of the others before they have heard of it",
        profile=dataclasses.replace(_STEADY, members=4),
        faults=(
            *_first_leads(4),
            Fault.membership(5 * S, 1, "remove 1"),
            *(_cut(5_002_300 * US, 1, other) for other in (3, 4)),
        ),
        operations=None,
        until_ns=9 * S,
    ),
    "H16": Scenario(
        hazard="a joint configuration",
        idea="two of three are about to be replaced; they do not hear that the change is committed",
        profile=dataclasses.replace(_STEADY, spares=2),
        faults=(
            *_first_leads(3),
            Fault.membership(5 * S, 1, "add 4", "add 5", "remove 2", "remove 3", transition="explicit"),
            *(_cut(5_002_100 * US, 1, other) for other in (2, 3)),
        ),
        operations=None,
        until_ns=9 * S,
    ),
    "H17": Scenario(
        hazard="two changes in a row leave no common majority",
        idea="two members are added, one right after the other; the two old ones do not hear that this is committed",
        profile=dataclasses.replace(_STEADY, spares=2),
        faults=(
            *_first_leads(3),
            Fault.membership(5 * S, 1, "add 4"),
            Fault.membership(5 * S + 1, 1, "add 5"),
            *(_cut(5_002_100 * US, 1, other) for other in (2, 3)),
        ),
        operations=None,
        until_ns=9 * S,
    ),
    "H18": Scenario(
        hazard="acknowledgements of a member since removed and added again",
        idea="the only member whose promises count is removed, loses its disk, and is added again without a memory",
        profile=dataclasses.replace(_STEADY, election_ticks=40),
        faults=(
            *_first_leads(3),
            Fault(kind="clock_failure", at_ns=5 * S, member=2, until_ns=6 * S),
            Fault.membership(5_500 * MS, 1, "remove 3"),
            _cut(5_530 * MS, 1, 3),
            Fault(kind="wipe", at_ns=5_540 * MS, member=3, until_ns=5_550 * MS),
            Fault.membership(5_560 * MS, 1, "add 3"),
            _cut(5_600 * MS, 1, 2),
        ),
        operations=None,
        until_ns=8 * S,
    ),
    "H19": Scenario(
        hazard="the role changes before the lease is withdrawn",
        idea="a leader whose lease rests on a lagging link votes for another member",
        profile=dataclasses.replace(
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
        hazard="a late extension revives a withdrawn lease",
        idea="leadership is handed over while coordinators sleep between the proof and the publication",
        profile=dataclasses.replace(PROFILES["handover"], keys=1, readers=4),
    ),
    "H22": Scenario(
        hazard="an acknowledgement of an earlier attempt confirms a later one",
        idea="acknowledgements come late, at a leader that was cut off and does not know of its successor",
        profile=_READ_INDEX,
        breaks=(READ_INDEX,),
    ),
    "H23": Scenario(
        hazard="a read joins a round that has already left",
        idea="the same, with reads that come while an earlier one still waits",
        profile=_READ_INDEX,
        breaks=(READ_INDEX,),
    ),
    "H26": Scenario(
        hazard="the leader's disk is dead but its heartbeats go on",
        idea="the leader's disk stands still for 18 s; some write must end well within 8 s",
        profile=dataclasses.replace(
            PROFILES["calm"],
            disk_stall_every_ns=40 * S,
            leader_bias_percent=100,
            fault_min_ns=18 * S,
            fault_max_ns=18 * S,
            write_liveness_ns=8 * S,
            think_max_ns=50 * MS,
            writer_think_max_ns=50 * MS,
        ),
        breaks=(NO_WRITE,),
        history=False,
    ),
    "H27": Scenario(
        hazard="a vote taken for a promise",
        idea="votes arrive up to three seconds after the election, at a leader that is cut off by then",
        profile=dataclasses.replace(
            _OPEN,
            heartbeat_ticks=10,
            hold_vote_percent=70,
            isolate_percent=100,
            one_way_percent=0,
            leader_bias_percent=100,
            fault_min_ns=2 * S,
            fault_max_ns=4 * S,
            partition_every_ns=5 * S,
        ),
    ),
    "H29": Scenario(
        hazard="promises so long that failover suffers",
        idea="leaders die for 15 s; some write must end well within 6 s. Without: a promise of ten election timeouts",
        profile=_DYING_LEADERS,
        without=dataclasses.replace(_DYING_LEADERS, promise_ns=9_900 * MS),
        breaks=(NO_WRITE,),
        history=False,
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
