"""How a new host joins a running cluster, and how it comes back to it after a restart.

A running member gives an *invitation*: the cluster's name and identity, what it began with, where its members are, and
the settings that all of them share. With it the new host opens an engine that belongs to nothing yet. Then, in this
order, each step safe to be repeated after a crash anywhere:

    the directory exists -> added as a learner -> caught up -> promoted, unless it is to stay a learner

The directory comes first, so that a host that is added has an identity that it will not forget. For the same reason an
empty directory is never let in under an id that was used before: whatever had that id may have promised or voted. The
invitation is kept in the directory as `joined`, so a restart needs nobody's answer.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tenure.admin import AdminClient
from tenure.cli.settings import MemberAddresses, Settings, cluster_uuid, parse_config, parse_settings
from tenure.engine import roster as rosters
from tenure.engine.native import host_and_port, written
from tenure.errors import (
    AlreadyMember,
    InvalidArgument,
    NotALearner,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    StorageError,
    TenureError,
    Timeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tenure.engine.protocol import Engine, MemberInfo
    from tenure.engine.roster import Roster

__all__ = ["Invitation", "Joiner", "invitation_json", "invite", "joining_settings"]

logger = logging.getLogger("tenure.serve")

FILE_NAME = "joined"
FORMAT_VERSION = 1
MAX_BYTES = 1 << 20
ASK_S = 5.0
PAUSE_S = 0.1
# What concerns one machine alone, and what every operator has to say anew.
NOT_SHARED = frozenset({"fsync", "insecure", "call_timeout_s", "shutdown_timeout_s"})


# ---------------------------------------------------------------------------------------------------------- invitations


@dataclasses.dataclass(frozen=True, slots=True)
class Invitation:
    """What a new host must know of the cluster that it joins.

    Attributes:
        cluster: its name.
        roster: its identity, what it began with, and the book of addresses.
        members: where its members are, by id, as far as anybody told.
        belonging: the ids that belong to it now.
        config: the settings that all members share, by name.
    """

    cluster: str
    roster: Roster
    members: dict[int, MemberAddresses]
    belonging: frozenset[int]
    config: dict[str, Any]


def invitation_json(settings: Settings) -> dict[str, Any]:
    """What a running member tells who wants to join, besides its membership.

    Raises:
        Refused: this member's directory does not say what the cluster began with.
    """
    roster = rosters.read(settings.directory)
    if roster is None:
        raise Refused("this member does not know what its cluster began with")
    return {
        "cluster": settings.cluster,
        "roster": rosters.roster_json(roster),
        "config": {
            name: str(value) if isinstance(value, Fraction) else value
            for name, value in dataclasses.asdict(settings.config).items()
            if name not in NOT_SHARED
        },
    }


def invite(answer: Mapping[str, Any]) -> Invitation:
    """The invitation that a member's answer holds.

    Raises:
        ProtocolError: it holds none.
    """
    try:
        roster = rosters.parse_roster(answer["roster"])
        told = answer["membership"]["members"]
        members = {id: MemberAddresses(peer) for id, peer in roster.addresses.items()}
        for one in told:
            peer = one["address"] or roster.addresses.get(one["id"])
            if peer is not None:
                members[int(one["id"])] = MemberAddresses(peer, admin=one["admin"])
        config = dict(answer["config"])
        name = str(answer["cluster"])
        # a recovered cluster is no longer the one that its name makes
        cluster = name if cluster_uuid(name) == roster.cluster_id else str(roster.cluster_id)
        return Invitation(cluster, roster, members, frozenset(int(one["id"]) for one in told), config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"what was asked for an invitation does not give one: {error}") from None


def keep(directory: Path, answer: Mapping[str, Any]) -> None:
    """Store an invitation where `recall` finds it."""
    rosters.replace_file(directory / FILE_NAME, json.dumps({"version": FORMAT_VERSION, "invitation": answer}, indent=1))


def recall(directory: Path) -> Mapping[str, Any] | None:
    """The invitation that was stored; None without one.

    Raises:
        StorageError: the file cannot be read, or is damaged.
    """
    path = directory / FILE_NAME
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MAX_BYTES))
        if found["version"] != FORMAT_VERSION or not isinstance(found["invitation"], dict):
            raise ValueError(f"version {found['version']}")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}", path=str(path), errno=error.errno) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(f"{path} is damaged: {error}", path=str(path)) from None
    invitation: Mapping[str, Any] = found["invitation"]
    return invitation


# ------------------------------------------------------------------------------------------------------------- settings


def joining_settings(
    contacts: Sequence[str], table: dict[str, Any], *, directory: str | None, token: str | None, **flags: Any
) -> tuple[Settings, Mapping[str, Any]]:
    """The settings of a member that joins, and the invitation that they rest on.

    Args:
        contacts: admin addresses of running members.
        table: contents of a settings file; may be empty.
        directory: the `--directory` flag.
        token: what the contacts want to see.
        flags: the rest, as for `parse_settings`.

    Raises:
        InvalidArgument: the settings are of no use, or the id may not be used.
        TenureError: nobody invites, and no former invitation is there.
    """
    known = {"cluster": "not yet known"} | table
    own = parse_settings(known, directory=directory, token=token, **flags)
    fresh = not (own.directory / "identity").exists()
    answer = ask_for_invitation(contacts, own, fresh=fresh)
    invitation = invite(answer)
    check_cluster(invitation, table.get("cluster") if flags.get("cluster") is None else flags["cluster"])
    if fresh:
        check_newcomer(invitation, own.member_id, own.own)
    told = parse_config(invitation.config | table.get("config", {}), flags.get("overrides") or {})
    settings = dataclasses.replace(
        own,
        cluster=invitation.cluster,
        members=everybody(invitation, own),
        config=told,
        roster=invitation.roster,
    )
    return settings, answer


def everybody(invitation: Invitation, own: Settings) -> dict[int, MemberAddresses]:
    """Where members are, by the invitation, with what the own settings say of them besides; and this member itself."""
    found = {
        id: dataclasses.replace(own.members.get(id, one), peer=one.peer, admin=one.admin or admin_of(own, id))
        for id, one in invitation.members.items()
    }
    return dict(sorted((found | {own.member_id: own.own}).items()))


def admin_of(own: Settings, id: int) -> str | None:
    """The admin address that the own settings have of a member."""
    return own.members[id].admin if id in own.members else None


def check_cluster(invitation: Invitation, name: str | None) -> None:
    """Refuse an invitation to another cluster than the one that the settings name."""
    if name is not None and cluster_uuid(name) != invitation.roster.cluster_id:
        raise InvalidArgument(
            f"cluster: {name} is wanted, but the member asked belongs to {invitation.cluster}", field="cluster"
        )


def ask_for_invitation(contacts: Sequence[str], own: Settings, *, fresh: bool) -> Mapping[str, Any]:
    """From who runs; else, for a member that was here before, from its directory."""
    try:
        return AdminClient(contacts, token=own.admin_token).get("/v1/cluster", timeout=ASK_S)
    except ValueError as error:
        raise InvalidArgument(f"join: {error}", field="join") from None
    except (TenureError, OSError) as error:
        kept = None if fresh else recall(own.directory)
        if kept is None:
            if isinstance(error, TenureError):
                raise
            raise Refused(f"nobody invites: {error}") from error
        logger.warning("nobody invites (%s): the invitation of %s serves", error, own.directory)
        return kept


def check_newcomer(invitation: Invitation, id: int, own: MemberAddresses) -> None:
    """Refuse an id or an address that is another's.

    Raises:
        AlreadyMember: the id was used before, by a directory that is not here.
        InvalidArgument: the address is another member's.
    """
    if id in invitation.belonging or invitation.roster.entry(id) is not None:
        state = "belongs to the cluster" if id in invitation.belonging else "was removed from the cluster"
        raise AlreadyMember(
            f"member {id} {state}, and this directory is empty: what was lost cannot come back under its id; "
            "remove it if it is still there, and join under an id that was never used",
            id=id,
        )
    for other, one in invitation.members.items():
        if one.peer == own.peer and other in invitation.belonging:
            raise InvalidArgument(f"{own.peer} is the address of member {other}", field="peer")


# -------------------------------------------------------------------------------------------------------------- joining


class Joiner:
    """Takes an open engine into its cluster, in a thread of its own; `done` tells when it is over, `error` how."""

    def __init__(
        self, engine: Engine, client: AdminClient, own: MemberAddresses, *, learner: bool, limit_s: float
    ) -> None:
        """Join as `own`, and stay a learner if `learner`; give up after `limit_s`."""
        self._engine = engine
        self._client = client
        self._own = own
        # As this host resolves it: there it listens, and by it this member knows itself in what others tell.
        self._address = written(*host_and_port("peer", own.peer))
        self._learner = learner
        self._deadline = time.monotonic() + limit_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tenure-join", daemon=True)
        self.done = threading.Event()
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin. Once."""
        self._thread.start()

    def stop(self) -> None:
        """Give up; what was asked of the cluster takes its course."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            self._step("added", self._add)
            self._step("caught up", self._catch_up)
            if not self._learner:
                self._step("promoted", self._promote)
        except (TenureError, OSError) as error:
            self.error = error
        except Exception as error:
            logger.exception("joining failed")  # an answer that makes no sense, perhaps: this host has not joined
            self.error = error
        finally:
            self.done.set()

    def _step(self, name: str, attempt: Callable[[], bool]) -> None:
        """Repeat `attempt` until it says that it is done, or has no more prospect."""
        trouble: Exception | None = None
        while True:
            if self._stopping.is_set():
                raise Refused("stopped while joining")
            if time.monotonic() > self._deadline:
                raise Timeout(f"not {name} in time") from trouble
            try:
                if attempt():
                    break
            except (OutcomeUnknown, OSError) as error:  # Timeout and a member that is not there are among them
                trouble = error
            except TenureError as error:
                if not error.retryable:
                    raise
                trouble = error
            self._stopping.wait(PAUSE_S)
        id = self._engine.member_id
        logger.info("member %d is %s", id, name, extra={"event": "joining", "member": id, "step": name})

    def _add(self) -> bool:
        if self._own_info() is not None:
            return True
        request = {"change": "add-learner", "id": self._engine.member_id, "address": self._address}
        if self._own.admin is not None:
            request["admin"] = self._own.admin
        try:
            self._client.post("/v1/members", request, timeout=self._patience())
        except AlreadyMember:  # by an attempt whose outcome was not learnt; or it was removed, and stays so
            return self._is_told()
        return True

    def _is_told(self) -> bool:
        """Whether the leader counts this member; raises when it no longer does, or counts another host under its id.

        False where only others answer.
        """
        answer = self._client.get("/v1/members", timeout=ASK_S)
        id = self._engine.member_id
        for one in answer["members"]:
            if one["id"] != id:
                continue
            if one["address"] not in (None, self._address):
                raise AlreadyMember(
                    f"member {id} is another host, at {one['address']}: join under an id that was never used, with an "
                    "empty directory",
                    id=id,
                )
            return True
        if answer["asked"] != answer["leader"]:
            return False
        raise AlreadyMember(
            f"member {id} was removed from the cluster: join under an id that was never used, with an empty directory",
            id=id,
        )

    def _catch_up(self) -> bool:
        try:
            self._engine.linearizable_read(timeout=self._patience())
        except Timeout:
            self._is_told()
            raise
        return self._own_info() is not None

    def _promote(self) -> bool:
        own = self._own_info()
        if own is not None and own.voter:
            return True
        try:
            self._client.post(
                "/v1/members", {"change": "promote", "id": self._engine.member_id}, timeout=self._patience()
            )
        except NotALearner:
            pass
        return False  # until this member has applied it too

    def _own_info(self) -> MemberInfo | None:
        return self._engine.configuration().member(self._engine.member_id)

    def _patience(self) -> float:
        return max(0.2, min(ASK_S, self._deadline - time.monotonic()))
