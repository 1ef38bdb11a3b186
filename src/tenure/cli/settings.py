"""What `tenure serve` runs: one member's settings, from a TOML file, from flags, or both, where flags win.

    cluster = "shop"

    [members.1]
    peer = "10.0.0.1:7101"
    admin = "127.0.0.1:7201"
    directory = "/var/lib/tenure/1"

    [config]
    election_timeout_s = 1.0

One file serves every member of the cluster; `--id` says which of them this is. Every mistake is an `InvalidArgument`
whose message names the place.

A member that joins a running cluster needs to say no more than its own id and address: the rest is in the invitation
that a running member gives it (see `join.py`). What the file or the flags say all the same wins over the invitation,
except for who belongs to the cluster.
"""

from __future__ import annotations

import dataclasses
import tomllib
import uuid
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenure.admin.address import split_address
from tenure.admin.server import check_token
from tenure.config import Config
from tenure.errors import InvalidArgument

if TYPE_CHECKING:
    from tenure.engine.roster import Roster

__all__ = [
    "MemberAddresses",
    "Settings",
    "admin_token",
    "cluster_uuid",
    "load",
    "member_flag",
    "parse_config",
    "parse_settings",
]

NAMESPACE = uuid.UUID("6f1b3b5e-54a5-4d52-9c0d-3d1f3a2b7e10")


@dataclasses.dataclass(frozen=True, slots=True)
class MemberAddresses:
    """Where one member of the cluster is found, as "host:port"; only `peer` is needed."""

    peer: str
    redis: str | None = None
    admin: str | None = None
    directory: str | None = None
    learner: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """One member, ready to be run.

    Attributes:
        cluster: the cluster's name, or its UUID.
        member_id: this member.
        directory: where it keeps its log.
        members: everybody whose addresses are known, this member included.
        config: the engine's settings.
        admin_token: what requests to the admin endpoint must carry; None: nothing.
        roster: what the cluster began with, for who was not there; None: with `members`.
        io_threads: how many threads serve Redis clients beside the loop.
    """

    cluster: str
    member_id: int
    directory: Path
    members: dict[int, MemberAddresses]
    config: Config
    admin_token: str | None = None
    roster: Roster | None = None
    io_threads: int = 0

    @property
    def own(self) -> MemberAddresses:
        """This member's addresses."""
        return self.members[self.member_id]


def cluster_uuid(name: str) -> uuid.UUID:
    """The identity of the cluster called `name`: the UUID that it spells, or one made of the name."""
    try:
        return uuid.UUID(name)
    except ValueError:
        return uuid.uuid5(NAMESPACE, name)


def load(path: Path) -> dict[str, Any]:
    """The contents of a TOML file."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror or error}", field="file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is not TOML: {error}", field="file") from error


def member_flag(text: str) -> tuple[int, dict[str, Any]]:
    """`ID=HOST:PORT[,redis=HOST:PORT][,admin=HOST:PORT][,learner]` as an id and a table like the file's."""
    first, *rest = text.split(",")
    id, equals, peer = first.partition("=")
    if not equals or not id.isdecimal():
        raise InvalidArgument(f"--member {text}: wants ID=HOST:PORT", field="member")
    table: dict[str, Any] = {"peer": peer}
    for part in rest:
        name, equals, value = part.partition("=")
        table[name] = value if equals else True
    return int(id), table


def parse_settings(
    table: dict[str, Any],
    *,
    member_id: int | None = None,
    cluster: str | None = None,
    directory: str | None = None,
    members: dict[int, dict[str, Any]] | None = None,
    peer: str | None = None,
    redis: str | None = None,
    admin: str | None = None,
    token: str | None = None,
    overrides: dict[str, str] | None = None,
    io_threads: int | None = None,
) -> Settings:
    """Settings from a file's contents and from flags, which win.

    Raises:
        InvalidArgument: something is missing, unknown or makes no sense; the message names it.
    """
    unknown = sorted(set(table) - {"cluster", "id", "directory", "members", "config", "admin_token_file", "io_threads"})
    if unknown:
        raise InvalidArgument(f"unknown settings: {', '.join(unknown)}", field=unknown[0])
    named = member_tables(table.get("members", {})) | (members or {})
    own_id = table.get("id") if member_id is None else member_id
    if isinstance(own_id, int) and peer is not None:
        named[own_id] = {**named.get(own_id, {}), "peer": peer}
    if not isinstance(own_id, int) or own_id not in named:
        known = ", ".join(map(str, sorted(named))) or "none"
        raise InvalidArgument(f"id: this member must be one of the members ({known}); say --id", field="id")
    own = dict(named[own_id])
    own |= {place: value for place, value in (("redis", redis), ("admin", admin)) if value is not None}
    named[own_id] = own
    name: Any = table.get("cluster") if cluster is None else cluster
    if not isinstance(name, str) or not name:
        raise InvalidArgument("cluster: the cluster needs a name that all its members share", field="cluster")
    found = {id: addresses(id, named[id]) for id in sorted(named)}
    where = directory or own.get("directory") or table.get("directory")
    if not isinstance(where, str):
        raise InvalidArgument("directory: where this member keeps its log; say --directory", field="directory")
    return Settings(
        cluster=name,
        member_id=own_id,
        directory=Path(where),
        members=found,
        config=parse_config(table.get("config", {}), overrides or {}),
        admin_token=admin_token(table) if token is None else check_token(token),
        io_threads=table.get("io_threads", 0) if io_threads is None else io_threads,
    )


def admin_token(table: dict[str, Any]) -> str | None:
    """The token in the file that the settings name; None: they name none."""
    name = table.get("admin_token_file")
    if name is None:
        return None
    try:
        return check_token(Path(name).read_text(encoding="utf-8").strip())
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"admin_token_file: cannot read {name}: {error}", field="admin_token_file") from error


def member_tables(table: Any) -> dict[int, dict[str, Any]]:
    """The file's `members`, by id."""
    if not isinstance(table, dict):
        raise InvalidArgument("members: wants a table for each member, [members.1] and so on", field="members")
    found = {}
    for id, one in table.items():
        if not id.isdecimal() or not isinstance(one, dict):
            raise InvalidArgument(f"members.{id}: wants a number for an id, and a table", field="members")
        found[int(id)] = one
    return found


def addresses(id: int, table: dict[str, Any]) -> MemberAddresses:
    """One member's table, checked."""
    names = {field.name for field in dataclasses.fields(MemberAddresses)}
    if unknown := sorted(set(table) - names):
        raise InvalidArgument(f"members.{id}: unknown settings: {', '.join(unknown)}", field=f"members.{id}")
    if "peer" not in table:
        raise InvalidArgument(f"members.{id}: needs peer, its address for other members", field=f"members.{id}")
    for name in ("peer", "redis", "admin"):
        if name not in table:
            continue
        try:
            split_address(table[name])
        except (ValueError, AttributeError):
            place = f"members.{id}.{name}"
            raise InvalidArgument(f"{place}: {table[name]!r} is not host:port", field=place) from None
    return MemberAddresses(**table)


def parse_config(table: Any, overrides: dict[str, str]) -> Config:
    """A `Config` from the file's table and from `--set name=value`."""
    if not isinstance(table, dict):
        raise InvalidArgument("config: wants a table", field="config")
    values: dict[str, Any] = dict(table)
    for name, text in overrides.items():
        try:
            values[name] = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            values[name] = text
    known = {field.name for field in dataclasses.fields(Config)}
    if unknown := sorted(set(values) - known):
        raise InvalidArgument(f"config: unknown settings: {', '.join(unknown)}", field=f"config.{unknown[0]}")
    rate = values.get("clock_rate_bound")
    if isinstance(rate, int | float | str) and not isinstance(rate, bool):
        try:
            values["clock_rate_bound"] = Fraction(str(rate))
        except (ValueError, ZeroDivisionError):
            raise InvalidArgument(
                f'config: clock_rate_bound: {rate!r} is no fraction such as "1/8"', field="config.clock_rate_bound"
            ) from None
    try:
        return Config(**values)
    except InvalidArgument as error:
        raise InvalidArgument(f"config: {error}", **error.details) from None
