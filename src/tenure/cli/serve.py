"""`tenure serve`: run one member of a cluster until a signal ends it.

Standard output carries one line of JSON, once the member listens, with the addresses it really has; the log goes to
standard error. With `--join` the line comes once the member has joined. SIGTERM or SIGINT stops it gracefully:
leadership is handed over, what was accepted is finished. A second one stops it at once. SIGUSR1 ends the load that
`--exercise` makes. Exit codes: 0 stopped, 1 the member failed or could not join, 2 the settings or the directory are of
no use, 130 or 143 stopped by a second signal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tenure._core.clock import now_ns
from tenure.errors import TenureError, Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from tenure._kv.machine import KeyValueMachine
    from tenure.cli.join import Joiner
    from tenure.cli.settings import Settings
    from tenure.coordinator import Coordinator
    from tenure.engine import NativeEngine

__all__ = ["serve"]

logger = logging.getLogger("tenure.serve")

EXIT_FAILED = 1
EXIT_USELESS = 2
LOOK_S = 0.2
JOIN_S = 600.0


@click.command("serve")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--id", "member_id", type=click.IntRange(1), help="Which of the members this is.")
@click.option("--cluster", help="The cluster's name, the same for all members, or its UUID.")
@click.option("--directory", type=click.Path(file_okay=False), help="Where this member keeps its log.")
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="ID=HOST:PORT[,redis=HOST:PORT][,admin=HOST:PORT]",
    help="A member of the cluster; once for each, this one included.",
)
@click.option("--peer", metavar="HOST:PORT", help="Where other members reach this one; the same as in --member.")
@click.option("--redis", metavar="HOST:PORT", help="Where Redis clients are served.")
@click.option(
    "--io-threads",
    type=click.IntRange(0),
    metavar="N",
    help="Threads that serve Redis clients beside the member's loop; 0, the default: the loop does it.",
)
@click.option("--admin", metavar="HOST:PORT", help="Where status, metrics, health and operations are served.")
@click.option(
    "--admin-token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the bearer token that operations must show; else $TENURE_ADMIN_TOKEN.",
)
@click.option(
    "--join",
    multiple=True,
    metavar="HOST:PORT",
    help="Join the running cluster of the member whose admin address this is; several: the first that answers.",
)
@click.option("--learner", is_flag=True, help="With --join: stay a learner, which follows without a vote.")
@click.option(
    "--join-timeout",
    type=click.FloatRange(1),
    default=JOIN_S,
    show_default=True,
    help="With --join: seconds within which this member must have caught up.",
)
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="A setting of tenure.config.Config.")
@click.option(
    "--exercise", type=click.FloatRange(1), metavar="RATE", help="Make a load of RATE calls a second on itself."
)
@click.option(
    "--until-input-ends", is_flag=True, hidden=True, help="Stop when standard input ends, as a parent's pipe does."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What goes to standard error.",
)
def serve(
    file: Path | None,
    member_id: int | None,
    cluster: str | None,
    directory: str | None,
    members: tuple[str, ...],
    peer: str | None,
    redis: str | None,
    io_threads: int | None,
    admin: str | None,
    admin_token_file: Path | None,
    join: tuple[str, ...],
    learner: bool,
    join_timeout: float,
    overrides: tuple[str, ...],
    exercise: float | None,
    until_input_ends: bool,
    log_level: str,
) -> None:
    """Run one member of a cluster, described by FILE (TOML), by options, or by both.

    With --join, the member joins a running cluster: --id, --peer and --directory are all it needs.
    """
    from tenure.cli.join import joining_settings
    from tenure.cli.remote import read_token
    from tenure.cli.settings import load, member_flag, parse_settings

    logging.basicConfig(
        level=logging.DEBUG if log_level == "debug" else logging.INFO,  # changes of role are reported, logged or not
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger().handlers[0].setLevel(log_level.upper())
    signals = Signals()
    if until_input_ends:
        threading.Thread(target=signals.follow_input, name="tenure-input", daemon=True).start()
    try:
        table = {} if file is None else load(file)
        flags: dict[str, Any] = {
            "member_id": member_id,
            "cluster": cluster,
            "directory": directory,
            "members": dict(member_flag(text) for text in members),
            "peer": peer,
            "redis": redis,
            "io_threads": io_threads,
            "admin": admin,
            "token": read_token(admin_token_file),
            "overrides": dict(pair(text) for text in overrides),
        }
        invitation = None
        if join:
            settings, invitation = joining_settings(join, table, **flags)
        else:
            settings = parse_settings(table, **flags)
        member = ServedMember(settings, exercise)
        if invitation is not None:
            member.join(invitation, join, learner=learner, limit_s=join_timeout)
    except TenureError as error:
        leave(f"tenure: {error}", EXIT_USELESS)
    sys.exit(member.run(signals))


def pair(text: str) -> tuple[str, str]:
    """`NAME=VALUE` as a pair."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text}: wants NAME=VALUE", param_hint="--set")
    return name, value


def leave(message: str, code: int) -> NoReturn:
    """End the process with a word on standard error."""
    click.echo(message, err=True)
    sys.exit(code)


class Signals:
    """SIGTERM and SIGINT as a queue; what a handler may do is little."""

    def __init__(self) -> None:
        self._arrived: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._arrived.put(number)

    def follow_input(self) -> None:
        """Take the end of standard input for a SIGTERM. Any thread."""
        while os.read(0, 4096):  # not through sys.stdin, whose lock would be missed when the interpreter ends
            pass
        self._arrived.put(signal.SIGTERM)

    def wait(self, seconds: float) -> int | None:
        """The next signal, None when none came in time."""
        try:
            return self._arrived.get(timeout=seconds)
        except queue.Empty:
            return None


class RoleEvents(logging.Handler):
    """The last changes of role that the engine has logged, with instants of the lease clock."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._events: deque[dict[str, Any]] = deque(maxlen=32)
        logging.getLogger("tenure.engine").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what says of which kind it is."""
        event = getattr(record, "event", None)
        if event is not None:
            facts = {name: getattr(record, name) for name in ("state", "term", "leader") if hasattr(record, name)}
            self._events.append({"at_ns": now_ns(), "event": event, **facts})

    def last(self) -> list[dict[str, Any]]:
        """Oldest first."""
        self.acquire()  # what `emit` is called under: a deque may not grow while it is copied
        try:
            return list(self._events)
        finally:
            self.release()


class ServedMember:
    """A member, its endpoints and its end. Made and run by the main thread."""

    def __init__(self, settings: Settings, exercise: float | None) -> None:
        """Open everything; on an error nothing stays open."""
        from tenure._kv.machine import KeyValueMachine
        from tenure.admin import AdminServer, MemberControl, MemberReport
        from tenure.admin.address import split_address
        from tenure.cli.exercise import Exerciser
        from tenure.cli.join import invitation_json
        from tenure.coordinator import Coordinator

        self.settings = settings
        self.joiner: Joiner | None = None
        self.machine: KeyValueMachine = KeyValueMachine()
        self.engine: NativeEngine = open_engine(settings, self.machine)
        self.coordinator: Coordinator = Coordinator(self.engine, machine=self.machine)
        self.admin: AdminServer | None = None
        self.exerciser: Exerciser | None = None
        self.events = RoleEvents()
        try:
            self.redis_address = self.engine.redis_address
            report = MemberReport(self.coordinator, facts=self._facts(), extras=self._extras)
            self.control = MemberControl(
                self.engine,
                admins={id: one.admin for id, one in settings.members.items() if one.admin is not None},
                cluster=lambda: invitation_json(settings),
            )
            if settings.own.admin is not None:
                host, port = split_address(settings.own.admin)
                self.admin = AdminServer(
                    report,
                    host,
                    port,
                    control=self.control,
                    token=settings.admin_token,
                    insecure=settings.config.insecure,
                )
            if exercise is not None:
                self.exerciser = Exerciser(self.coordinator, self.machine, exercise)
        except BaseException:
            self._close_endpoints()
            self.coordinator.close(graceful=False)
            raise

    def join(self, invitation: Mapping[str, Any], contacts: tuple[str, ...], *, learner: bool, limit_s: float) -> None:
        """Begin to join the cluster of `invitation`; on an error nothing stays open."""
        from tenure.admin import AdminClient
        from tenure.cli import join

        own, others = self.settings.own, self.settings.members.values()
        admins = [one.admin for one in others if one.admin is not None and one is not own]
        try:
            join.keep(self.settings.directory, invitation)
        except TenureError:
            self._close(at_once=True)
            raise
        client = AdminClient(list(dict.fromkeys([*contacts, *admins])), token=self.settings.admin_token)
        self.joiner = join.Joiner(self.engine, client, own, learner=learner, limit_s=limit_s)
        self.joiner.start()

    def _facts(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "cluster": settings.cluster,
            "directory": str(settings.directory),
            "redis_address": self.redis_address,
        }

    def _members(self) -> dict[str, Any]:
        """Where everybody is found, as far as this member knows."""
        known, admins = self.settings.members, self.control.admins
        found = {}
        for one in self.engine.configuration().members:
            redis = known[one.id].redis if one.id in known else None
            found[str(one.id)] = {"peer": one.address, "redis": redis, "admin": admins.get(one.id)}
        return found

    def _extras(self) -> Mapping[str, Any]:
        extras: dict[str, Any] = {"keys": self.machine.size, "state_hash": f"{self.machine.state_hash:016x}"}
        with contextlib.suppress(TenureError):  # it was closed while it was asked
            extras["members"] = self._members()
        extras["events"] = self.events.last()
        if self.redis_address is not None:
            extras["redis"] = dict(self.engine.redis_counters)
            extras["redis_threads"] = [dict(one) for one in self.engine.redis_threads]
        if self.exerciser is not None:
            extras |= self.exerciser.report()
        return extras

    def ready_line(self) -> str:
        """What standard output says once the member listens."""
        own = self.settings.own
        admin = None if self.admin is None else f"{self.admin.host}:{self.admin.port}"
        return json.dumps(
            {
                "ready": True,
                "member": self.settings.member_id,
                "cluster": self.settings.cluster,
                "pid": os.getpid(),
                "peer": own.peer,
                "redis": self.redis_address,
                "admin": admin,
            }
        )

    def run(self, signals: Signals) -> int:
        """Serve until a signal or a failure; returns the exit code."""
        from tenure.engine.protocol import State

        engine = self.coordinator.engine
        ready = False
        while engine.state is not State.FAILED:
            if not ready and (self.joiner is None or self.joiner.done.is_set()):
                if self.joiner is not None and self.joiner.error is not None:
                    return self._not_joined(self.joiner.error)
                print(self.ready_line(), flush=True)
                ready = True
            arrived = signals.wait(LOOK_S)
            if arrived == signal.SIGUSR1:
                self._end_exercise()
            elif arrived is not None:
                logger.info("%s: stopping; once more to stop at once", signal.Signals(arrived).name)
                return self._stop(signals)
        failure = engine.status().failure
        logger.error("member %d has failed (%s): stopping", engine.member_id, failure)
        self._close(at_once=True)
        return EXIT_FAILED

    def _not_joined(self, error: Exception) -> int:
        because = "" if error.__cause__ is None else f": {error.__cause__}"
        logger.error("member %d could not join: %s%s", self.settings.member_id, error, because)
        self._close()
        return EXIT_FAILED

    def _stop(self, signals: Signals) -> int:
        closer = threading.Thread(target=self._close, name="tenure-stop", daemon=True)
        closer.start()
        limit = time.monotonic() + self.settings.config.shutdown_timeout_s + 5
        while closer.is_alive() and time.monotonic() < limit:
            second = signals.wait(0.02)
            if second not in (None, signal.SIGUSR1):
                logger.warning("%s again: stopping at once", signal.Signals(second).name)
                logging.shutdown()
                os._exit(128 + second)  # threads that hang are why a second signal exists; the log survives any crash
        if closer.is_alive():
            logger.error("the member has not stopped in time")
            logging.shutdown()
            os._exit(EXIT_FAILED)
        logger.info("stopped")
        return 0

    def _close(self, *, at_once: bool = False) -> None:
        if self.joiner is not None:
            self.joiner.stop()
        self._close_endpoints()
        try:
            self.coordinator.close(graceful=not at_once)
        except Timeout as error:
            logger.error("%s", error)

    def _end_exercise(self) -> None:
        if self.exerciser is not None:
            self.exerciser.close()

    def _close_endpoints(self) -> None:
        self._end_exercise()
        if self.admin is not None:
            self.admin.close()


def open_engine(settings: Settings, machine: KeyValueMachine) -> NativeEngine:
    """The native engine of this member."""
    from tenure.cli.settings import cluster_uuid
    from tenure.engine import NativeEngine

    began: dict[str, Any] = {"learners": [id for id, one in settings.members.items() if one.learner]}
    if settings.roster is not None:
        began = {"learners": settings.roster.base_learners, "bootstrap": settings.roster.base_voters}
    return NativeEngine(
        machine,
        directory=settings.directory,
        cluster_id=cluster_uuid(settings.cluster),
        member_id=settings.member_id,
        members={id: one.peer for id, one in settings.members.items()},
        config=settings.config,
        redis=settings.own.redis,
        io_threads=settings.io_threads,
        **began,
    )
