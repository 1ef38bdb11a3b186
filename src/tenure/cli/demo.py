"""`tenure demo`: a cluster of three members on this machine, at work, before one's eyes.

Three processes of `tenure serve`, each with its own directory and log, agree by Raft; the leader makes a small mixed
load on itself, so that latencies are measured where a server would meet them. With `--fail-leader` the leader is
stopped in the middle, and the demo shows its lease running out before a successor takes over.

Exit codes: 0 everything worked; 1 something did not, and the last lines say what; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tenure.cli.demo_cluster import DemoCluster, Member
    from tenure.cli.demo_redis import RedisClients
    from tenure.cli.demo_view import Failover, Scene

__all__ = ["demo"]

FAIL_AFTER_S = 4.0
BACK_AFTER_S = 1.5
SETTLE_S = 5.0
FRAME_S = 0.1
PLAIN_S = 1.0
REDIS_RATE = 100.0
SHORTEST_S = 3.0
SHORTEST_WITH_FAILURE_S = 12.0
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

How = Literal["pause", "kill"]


@click.command("demo")
@click.option("--seconds", type=click.FloatRange(SHORTEST_S), help="How long to run; without it until Ctrl-C.")
@click.option("--fail-leader", is_flag=True, help="Stop the leader in the middle and show the fail-over.")
@click.option(
    "--how", type=click.Choice(["pause", "kill"]), default="pause", show_default=True, help="What befalls the leader."
)
@click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="Keep the members' directories here."
)
@click.option("--rate", type=click.FloatRange(16, 100_000), default=400.0, show_default=True, help="Calls a second.")
@click.option("--plain", is_flag=True, help="Lines for scripts instead of a picture.")
def demo(seconds: float | None, fail_leader: bool, how: How, directory: Path | None, rate: float, plain: bool) -> None:
    """Run a cluster of three members on this machine and watch it work."""
    from tenure.cli.demo_cluster import DemoCluster, DemoFailure

    if fail_leader and seconds is not None and seconds < SHORTEST_WITH_FAILURE_S:
        raise click.BadParameter(f"a fail-over needs {SHORTEST_WITH_FAILURE_S:.0f} s", param_hint="--seconds")
    with contextlib.ExitStack() as stack:
        try:
            if directory is None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenure-demo-")))
            directory.mkdir(parents=True, exist_ok=True)
            cluster = stack.enter_context(DemoCluster(directory, rate=rate))
            show = Demo(cluster, seconds, how if fail_leader else None, plain)
            verdict = show.run()
        except DemoFailure as failure:
            click.echo(f"tenure demo: {failure}", err=True)
            verdict = EXIT_FAILED
        except KeyboardInterrupt:
            verdict = EXIT_INTERRUPTED
    sys.exit(verdict)


class Demo:
    """One run. The main thread alone."""

    def __init__(self, cluster: DemoCluster, seconds: float | None, how: How | None, plain: bool) -> None:
        self.cluster = cluster
        self.seconds = seconds
        self.how = how
        self.plain = plain
        self.failover: Failover | None = None
        self._former: list[dict[str, Any]] = []  # last reports of processes that ended on purpose
        self._latencies: dict[str, dict[str, int]] = {}
        self._measured_in = 0
        self._hashes: dict[int, set[int]] = {}
        self._began = time.monotonic()
        self._told = 0
        self._clients: RedisClients | None = None

    # --------------------------------------------------------------------------------------------------- the course

    def run(self) -> int:
        """Start, show, judge, stop; returns the exit code."""
        from tenure.cli.demo_cluster import Watch

        self._say("starting three members")
        self.cluster.start()
        with Watch(self.cluster), self._canvas() as draw:
            self._began = time.monotonic()
            interrupted = False
            try:
                for _ in self._frames(draw):
                    self._act()
            except KeyboardInterrupt:
                interrupted = self.seconds is not None
            self._wake_all()
            if self._clients is not None:
                self._clients.close()
            self.cluster.end_load()
            settled = self._settle(draw)
        scene = self.scene()
        codes = self.cluster.stop()
        return self._judge(scene, settled, codes, interrupted)

    def _frames(self, draw: Callable[[Scene], None]) -> Iterator[None]:
        while self.seconds is None or time.monotonic() - self._began < self.seconds:
            self._look()
            draw(self.scene())
            yield
            time.sleep(FRAME_S if self.failover is None or self.failover.seen else FRAME_S / 2)

    def _look(self) -> None:
        from tenure.cli.demo_cluster import DemoFailure

        ended = self.cluster.unexpected_end()
        if ended is not None and not (self.failover and self.failover.how == "kill" and self.failover.old == ended.id):
            raise DemoFailure(f"member {ended.id} ended by itself:\n{self.cluster.last_words(ended)}")
        leader = self._leader()
        if leader is not None and self._clients is None:
            from tenure.cli.demo_redis import RedisClients

            self._clients = RedisClients([member.redis for member in self.cluster.members.values()], REDIS_RATE)
        if leader is not None and leader.report.get("latencies", {}).get("lease_read", {}).get("count"):
            self._latencies, self._measured_in = leader.report["latencies"], leader.id

    def _leader(self) -> Member | None:
        leading = [member for member in self.cluster.members.values() if member.leads]
        return max(leading, key=lambda member: member.report.get("term", 0), default=None)

    def _act(self) -> None:
        """Let the fail-over take its course, step by step."""
        if self.how is None:
            return
        if self.failover is None:
            leader = self._leader()
            if time.monotonic() - self._began >= FAIL_AFTER_S and leader is not None and leader.lease_left_ns:
                self.failover = self._fail(leader, self.how)
        elif not self.failover.seen:
            self._follow_successor(self.failover)
        elif not self.failover.resumed_ns:
            self._bring_back(self.failover)
        elif not self.failover.back_ns:
            self._follow_return(self.failover)

    def _fail(self, leader: Member, how: How) -> Failover:
        from tenure.cli.demo_cluster import ask
        from tenure.cli.demo_view import Failover

        ask(leader)  # how long its lease holds is best known just before
        left_ns = leader.lease_left_ns
        stopped_ns = self.cluster.pause(leader) if how == "pause" else self.cluster.kill(leader)
        return Failover(
            old=leader.id,
            old_term=leader.report["term"],
            how=how,
            stopped_ns=stopped_ns,
            lease_left_ns=left_ns,
            lease_duration_ns=leader.report["lease_duration_ns"],
        )

    def _follow_successor(self, failover: Failover) -> None:
        leader = self._leader()
        if leader is None or leader.id == failover.old or leader.report["term"] <= failover.old_term:
            return
        term = leader.report["term"]
        if term != failover.new_term:
            failover.new, failover.new_term = leader.id, term
            failover.first_write_ns = failover.first_lease_read_ns = 0
        for event in leader.report.get("events", ()):
            if event["event"] == "role" and event["state"] == "leader" and event["term"] == term:
                failover.elected_ns = event["at_ns"]
        leadership = leader.report.get("leadership", {})
        if leadership.get("term") == term:
            failover.first_write_ns = leadership["first_write_ns"]
            failover.first_lease_read_ns = leadership["first_lease_read_ns"]

    def _bring_back(self, failover: Failover) -> None:
        from tenure._core.clock import now_ns

        if now_ns() - failover.first_lease_read_ns < BACK_AFTER_S * 1e9:
            return
        old = self.cluster.members[failover.old]
        if failover.how == "pause":
            failover.resumed_ns = self.cluster.resume(old)
        else:
            self._former.append(old.report)
            failover.resumed_ns = now_ns()
            self.cluster.start([old.id])

    def _follow_return(self, failover: Failover) -> None:
        old = self.cluster.members[failover.old]
        if old.heard_ns < failover.resumed_ns or old.report.get("term", 0) < failover.new_term:
            return
        for event in old.report.get("events", ()):
            later = event["at_ns"] >= failover.resumed_ns
            if later and event["event"] == "role" and event["state"] == "follower" and event["leader"]:
                failover.back_ns = event["at_ns"]
                return

    def _wake_all(self) -> None:
        for member in self.cluster.members.values():
            if member.paused:
                self.cluster.resume(member)

    def _settle(self, draw: Callable[[Scene], None]) -> bool:
        """Without load, wait until all members have applied the same and hold the same; whether they do."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            time.sleep(2 * FRAME_S)
            reports = [member.report for member in self.cluster.members.values()]
            indexes = {(report.get("applied_index"), report.get("last_index")) for report in reports}
            if len(indexes) == 1 and len({report.get("state_hash") for report in reports}) == 1:
                draw(self.scene())
                return True
        return False

    # --------------------------------------------------------------------------------------------------- the picture

    def scene(self) -> Scene:
        """What there is to show now."""
        from tenure.cli.demo_view import Scene, totals

        members = list(self.cluster.members.values())
        total = totals([*self._former, *(member.report for member in members)])
        latencies = dict(self._latencies)
        if self._clients is not None:
            latencies |= self._clients.latencies()
            total.redis = dict(self._clients.counts)
            total.stale += total.redis["stale"]
        return Scene(
            members=members,
            elapsed_s=time.monotonic() - self._began,
            seconds=self.seconds,
            totals=total,
            latencies=latencies,
            measured_in=self._measured_in,
            directory=str(self.cluster.directory),
            connect=self._connect(),
            failover=self.failover,
        )

    def _connect(self) -> list[tuple[str, str]]:
        first = self.cluster.members[1]
        ports = [member.redis.rpartition(":")[2] for member in self.cluster.members.values()]
        told = [("Redis", f"redis-cli -p {ports[0]} incr visits     (any member: {', '.join(ports)})")]
        told.append(("status", f"tenure status {first.admin}"))
        told.append(("metrics", f"curl http://{first.admin}/metrics"))
        told.append(("logs and data", str(self.cluster.directory)))
        return told

    @contextlib.contextmanager
    def _canvas(self) -> Iterator[Callable[[Scene], None]]:
        """A function that shows a scene, as a picture or as lines."""
        from rich.console import Console
        from rich.live import Live

        from tenure.cli.demo_view import plain_line, render

        if self.plain:
            for what, command in self._connect():
                self._say(f"{what}: {command}")
            last = -PLAIN_S

            def write(scene: Scene) -> None:
                nonlocal last
                self._tell_story()
                if scene.elapsed_s - last >= PLAIN_S:
                    last = scene.elapsed_s
                    self._say(plain_line(scene))

            yield write
            return
        console = Console()
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda scene: live.update(render(scene, console.width), refresh=True)
        if not console.is_terminal:
            console.print()  # the last picture ends without a line end there

    def _tell_story(self) -> None:
        if self.failover is None:
            return
        story = self.failover.story()
        for since_ns, _, sentence in story[self._told :]:
            self._say(f"failover +{since_ns / 1e6:.0f}ms {sentence}")
        self._told = len(story)

    def _say(self, line: str) -> None:
        if self.plain:
            click.echo(line)

    # --------------------------------------------------------------------------------------------------- the verdict

    def _judge(self, scene: Scene, settled: bool, codes: dict[int, int | None], interrupted: bool) -> int:
        total = scene.totals
        redis = total.redis
        checks = [
            (total.hits > 0, f"{total.hits:,} lease reads from memory, {total.misses:,} that asked a quorum instead"),
            (total.quorum_reads > 0, f"{total.quorum_reads:,} quorum reads"),
            (total.writes > 0, f"{total.writes:,} writes acknowledged, {total.unknown:,} with an unknown outcome"),
            (
                redis.get("gets", 0) > 0 and redis.get("incrs", 0) > 0,
                (
                    f"{redis.get('gets', 0):,} GET and {redis.get('incrs', 0):,} INCR over Redis connections, "
                    f"{redis.get('errors', 0):,} error replies, {redis.get('unanswered', 0):,} unanswered"
                ),
            ),
            (total.stale == 0, f"{total.stale} stale reads"),
            (settled, "all members hold the same state" if settled else "the members do not hold the same state"),
        ]
        if self.how is not None:
            checks += self._judge_failover(self.failover)
        clean = all(code == 0 for code in codes.values()) and len(codes) == len(self.cluster.members)
        checks.append((clean, "all members stopped cleanly" if clean else f"exit codes of the members: {codes}"))
        for passed, sentence in checks:
            mark = click.style("ok  " if self.plain else "✓", fg="green")
            if not passed:
                mark = click.style("FAIL" if self.plain else "✗", fg="red", bold=True)
            click.echo(f"{mark} {sentence}")
        if interrupted:
            return EXIT_INTERRUPTED
        return 0 if all(passed for passed, _ in checks) else EXIT_FAILED

    @staticmethod
    def _judge_failover(failover: Failover | None) -> list[tuple[bool, str]]:
        if failover is None:
            return [(False, "no leader with a lease was there to be stopped")]
        if not failover.seen:
            return [(False, f"nobody took over from member {failover.old}")]
        margin_ms = (failover.elected_ns - failover.lease_end_at_most_ns) / 1e6
        back = failover.back_ns > 0
        return [
            (
                failover.safe,
                f"the old lease was over at least {margin_ms:.0f} ms before member {failover.new} took over",
            ),
            (
                back,
                f"member {failover.old} came back as a follower"
                if back
                else f"member {failover.old} did not come back",
            ),
        ]
