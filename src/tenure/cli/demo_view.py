"""How the demo looks: a picture of the cluster for a terminal, and a line for a script.

Everything here is a pure function of what was heard from the members; nothing asks, waits or changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tenure._core.clock import now_ns
from tenure.cli.status import STYLES, short_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from tenure.cli.demo_cluster import Member

__all__ = ["Failover", "Scene", "Totals", "lease_bar", "plain_line", "render", "totals"]

MS = 1_000_000
WIDE = 100  # cells, from which on there is room for explanations
CALLS = {
    "lease_read": ("lease read", "memory, behind the lease", "green"),
    "linearizable_read": ("quorum read", "ReadIndex, one round", "cyan"),
    "write": ("write", "replicated and synced", "magenta"),
    "redis_get": ("Redis GET", "over TCP, from any member", "green"),
    "redis_incr": ("Redis INCR", "over TCP, to any member", "magenta"),
}
DECADES = (1e1, 1e8)  # of the latency scale, in nanoseconds


@dataclass
class Failover:
    """The instants of one fail-over, on the lease clock; 0 = not yet."""

    old: int
    old_term: int
    how: str
    stopped_ns: int
    lease_left_ns: int  # of the lease when its holder was stopped, as the holder said last
    lease_duration_ns: int
    new: int = 0
    new_term: int = 0
    elected_ns: int = 0
    first_write_ns: int = 0
    first_lease_read_ns: int = 0
    resumed_ns: int = 0
    back_ns: int = 0

    @property
    def lease_end_ns(self) -> int:
        """When the old lease ended, by its holder's last report."""
        return self.stopped_ns + self.lease_left_ns

    @property
    def lease_end_at_most_ns(self) -> int:
        """After this instant the old lease cannot have held, whatever its holder did just before it was stopped."""
        return self.stopped_ns + self.lease_duration_ns

    @property
    def seen(self) -> bool:
        """Whether the successor has written and read."""
        return bool(self.elected_ns and self.first_write_ns and self.first_lease_read_ns)

    @property
    def safe(self) -> bool:
        """Whether the old lease had ended before the successor was elected."""
        return self.elected_ns > self.lease_end_at_most_ns

    def story(self) -> list[tuple[int, str, str]]:
        """What happened: nanoseconds since the stop, a colour, a sentence."""
        what = "stopped (SIGSTOP)" if self.how == "pause" else "killed (SIGKILL)"
        told = [(0, "red", f"member {self.old}, leader of term {self.old_term}, is {what}")]
        if now_ns() >= self.lease_end_ns:
            told.append((self.lease_left_ns, "yellow", f"the lease of member {self.old} has run out"))
        if self.elected_ns:
            gap = (self.elected_ns - self.lease_end_ns) / MS
            told.append(
                (
                    self.elected_ns - self.stopped_ns,
                    "green",
                    f"member {self.new} is elected in term {self.new_term}, {gap:.0f} ms after the lease's end",
                )
            )
        if self.first_write_ns:
            told.append((self.first_write_ns - self.stopped_ns, "magenta", f"member {self.new} acknowledges a write"))
        if self.first_lease_read_ns:
            told.append(
                (self.first_lease_read_ns - self.stopped_ns, "green", f"member {self.new} reads by a lease of its own")
            )
        if self.resumed_ns:
            verb = "runs on" if self.how == "pause" else "is started again"
            told.append((self.resumed_ns - self.stopped_ns, "cyan", f"member {self.old} {verb}"))
        if self.back_ns:
            told.append(
                (
                    self.back_ns - self.stopped_ns,
                    "cyan",
                    f"member {self.old} follows member {self.new}",
                )
            )
        return sorted(told, key=lambda item: item[0])


@dataclass
class Totals:
    """Sums over all members since the start, restarts included."""

    hits: int = 0
    misses: int = 0
    quorum_reads: int = 0
    writes: int = 0
    stale: int = 0
    unknown: int = 0
    failed: int = 0
    lapses: dict[str, int] = field(default_factory=dict)
    redis: dict[str, int] = field(default_factory=dict)  # what the client beside the cluster counts


@dataclass
class Scene:
    """All there is to show."""

    members: Sequence[Member]
    elapsed_s: float
    seconds: float | None
    totals: Totals
    latencies: dict[str, dict[str, int]]
    measured_in: int  # the member whose process measured the latencies; 0 = none yet
    directory: str
    connect: Sequence[tuple[str, str]]
    failover: Failover | None = None


def totals(reports: Sequence[dict[str, Any]]) -> Totals:
    """The sums over the last reports of all processes that ran."""
    total = Totals()
    for report in reports:
        for name, count in report.get("fences", {}).items():
            setattr(total, name, getattr(total, name) + count)
        redis = report.get("redis", {})
        total.hits += redis.get("lease_hits", 0)
        total.misses += redis.get("lease_misses", 0)
        for name, count in report.get("counters", {}).items():
            if name.startswith("lapses_"):
                cause = name.removeprefix("lapses_")
                total.lapses[cause] = total.lapses.get(cause, 0) + count
    return total


# ------------------------------------------------------------------------------------------------------ for a terminal


def render(scene: Scene, width: int = WIDE) -> RenderableType:
    """The whole picture, for a terminal of `width` cells."""
    parts: list[RenderableType] = [header(scene), members_panel(scene), latency_panel(scene, wide=width >= WIDE)]
    if scene.failover is not None:
        parts.append(failover_panel(scene.failover))
    parts.append(connect_panel(scene))
    return Group(*parts)


def header(scene: Scene) -> Text:
    """One line: what this is, and how long it has been running."""
    clock = f"{scene.elapsed_s:.0f} s" if scene.seconds is None else f"{scene.elapsed_s:.0f} of {scene.seconds:.0f} s"
    line = Text(" tenure ", style="bold reverse")
    line.append("  three members, one leader, reads from its lease", style="bold")
    line.append(f"   {clock}", style="dim")
    return line


def members_panel(scene: Scene) -> Panel:
    """Every member in a row, and the sums below."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("member", no_wrap=True)
    table.add_column("role", no_wrap=True)
    for name in ("term", "commit", "applied", "keys"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("lease remaining", no_wrap=True, min_width=26)
    for member in scene.members:
        report = member.report
        state = member.state
        known = state != "down"
        table.add_row(
            Text(f"● {member.id}", style=ROLE_STYLES.get(state, "dim")),
            Text(state, style=ROLE_STYLES.get(state, "dim")),
            number(report.get("term"), known),
            number(report.get("commit_index"), known),
            number(report.get("applied_index"), known),
            number(report.get("keys"), known),
            lease_cell(member),
        )
    return Panel(
        Group(table, Text(), sums(scene.totals)),
        title="cluster",
        title_align="left",
        box=box.ROUNDED,
        border_style="dim",
    )


def sums(total: Totals) -> Table:
    """How the lease did so far, over all members."""
    reads = Text.assemble(
        (f"{total.hits:,}", "bold green"), " from memory   ", (f"{total.misses:,}", "bold yellow"), " asked a quorum"
    )
    reads.append(", as those at followers always do", style="dim")
    lapses = ", ".join(
        f"{count} by {LAPSES.get(cause, cause)}" for cause, count in sorted(total.lapses.items()) if count
    )
    stale = Text(str(total.stale), style="bold red" if total.stale else "bold green")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("lease reads", reads)
    table.add_row("leases lapsed", lapses or Text("never", style="dim"))
    if total.redis:
        counts = total.redis
        table.add_row(
            "Redis clients",
            f"{counts['gets']:,} GET, {counts['incrs']:,} INCR, {counts['errors']:,} error replies, "
            f"{counts['unanswered']:,} unanswered",
        )
    table.add_row("stale reads", stale)
    return table


LAPSES = {"deadline": "deadline (nobody renewed them in time)", "withdrawn": "withdrawal (leadership ended)"}
ROLE_STYLES = STYLES | {"stopped": "bold red", "down": "bold red", "silent": "yellow"}


def number(value: int | None, known: bool) -> Text:
    """A number, dimmed when it is not of now."""
    return Text("-" if value is None else f"{value:,}", style="" if known else "dim")


def lease_cell(member: Member) -> Text:
    """A bar that drains, for the leader, and for a leader that was stopped."""
    duration = member.report.get("lease_duration_ns", 0)
    left = member.lease_left_ns
    if member.state in ("leader", "stopped") and left and duration:
        return lease_bar(left, duration, "green" if member.state == "leader" else "yellow")
    if member.state == "stopped" and member.report.get("state") == "leader":
        return Text("has run out", style="red")
    return Text("·" * 16 + "  none", style="dim")


def lease_bar(left_ns: int, duration_ns: int, style: str, width: int = 16) -> Text:
    """How much of a lease is left, to an eighth of a cell."""
    eighths = min(width * 8, max(0, round(left_ns / duration_ns * width * 8)))
    bar = "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
    text = Text(bar, style=style)
    text.append("·" * (width - len(bar)), style="dim")
    return text.append(f"  {left_ns / MS:.0f} ms", style=style)


def latency_panel(scene: Scene, *, wide: bool = True) -> Panel:
    """Median and 99th percentile of each call, on a logarithmic scale."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("call", no_wrap=True)
    table.add_column("p50", justify="right", no_wrap=True, min_width=8)
    table.add_column("p99", justify="right", no_wrap=True, min_width=8)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column(scale_heading(), no_wrap=True)
    for kind, (name, meaning, style) in CALLS.items():
        found = scene.latencies.get(kind, {})
        label = Text(name, style=f"bold {style}").append(f"  {meaning}" if wide else "", style="dim not bold")
        table.add_row(
            label,
            short_duration(found.get("p50_ns")),
            short_duration(found.get("p99_ns")),
            f"{found.get('count', 0):,}",
            span_bar(found, style),
        )
    lease, quorum = (scene.latencies.get(kind, {}).get("p50_ns", 0) for kind in ("lease_read", "linearizable_read"))
    where = f"the first three measured inside member {scene.measured_in}" if scene.measured_in else "not measured yet"
    if lease and quorum:
        where += f"; a lease read costs 1/{quorum / lease:,.0f} of a quorum read"
    return Panel(
        table,
        title="latency",
        title_align="left",
        subtitle=where,
        subtitle_align="left",
        box=box.ROUNDED,
        border_style="dim",
    )


SCALE_WIDTH = 30


def place(duration_ns: float) -> int:
    """The cell of a duration on the logarithmic scale."""
    from math import log10

    low, high = (log10(end) for end in DECADES)
    share = (log10(max(duration_ns, 1.0)) - low) / (high - low)
    return min(SCALE_WIDTH - 1, max(0, round(share * (SCALE_WIDTH - 1))))


def scale_heading() -> Text:
    """The marks above the scale."""
    cells = [" "] * (SCALE_WIDTH + 2)
    for mark, label in ((1e2, "100 ns"), (1e4, "10 µs"), (1e6, "1 ms")):
        for i, letter in enumerate("│" + label):
            cells[place(mark) + i] = letter
    return Text("".join(cells), style="dim")


def span_bar(found: dict[str, int], style: str) -> Text:
    """From the median to the 99th percentile."""
    if "p50_ns" not in found:
        return Text("")
    first, last = place(found["p50_ns"]), place(found["p99_ns"])
    text = Text(" " * first).append("█", style=style)
    return text.append("━" * (last - first), style=style)


def failover_panel(failover: Failover) -> Panel:
    """A ruler with the leases of both leaders, and the story below it."""
    story = Table(box=None, show_header=False, pad_edge=False)
    story.add_column(justify="right", no_wrap=True)
    story.add_column()
    for since_ns, style, sentence in failover.story():
        story.add_row(Text(f"+{since_ns / MS:,.0f} ms", style="bold"), Text(sentence, style=style))
    return Panel(
        Group(ruler(failover), story), title="fail-over", title_align="left", box=box.ROUNDED, border_style="yellow"
    )


def ruler(failover: Failover, width: int = 60) -> Text:
    """Who may read from memory, over time: the two bars never stand above one another."""
    end_ns = max(3_000 * MS, (failover.first_lease_read_ns or now_ns()) - failover.stopped_ns + 500 * MS)
    shown_ns = min(end_ns, now_ns() - failover.stopped_ns)

    def cell(at_ns: int) -> int:
        return max(0, min(width, round(at_ns / end_ns * width)))

    lease = cell(min(failover.lease_left_ns, shown_ns))
    text = Text(f"member {failover.old}  ", style="dim")
    text.append("█" * lease, style="yellow").append("·" * (cell(shown_ns) - lease), style="dim").append("\n")
    text.append(f"member {failover.new}  " if failover.new else "          ", style="dim")
    if failover.first_lease_read_ns:
        elected = cell(failover.elected_ns - failover.stopped_ns)
        reads = cell(failover.first_lease_read_ns - failover.stopped_ns)
        text.append("·" * elected, style="dim").append("▒" * (reads - elected), style="green")
        text.append("█" * (cell(shown_ns) - reads), style="green")
    else:
        text.append("·" * cell(shown_ns), style="dim")
    step_ns = 500 * MS
    marks = [" "] * (width + 12)
    for at_ns in range(0, end_ns, step_ns):
        for i, letter in enumerate(f"│{at_ns / 1e9:.1f} s"):
            if cell(at_ns) + i < len(marks):
                marks[cell(at_ns) + i] = letter
    text.append("\n          " + "".join(marks).rstrip() + "\n", style="dim")
    text.append("          ").append("█", style="yellow").append("█", style="green").append(" may read from memory   ")
    return text.append("▒", style="green").append(" elected, no lease yet\n")


def connect_panel(scene: Scene) -> Panel:
    """How to talk to the cluster from another terminal."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="bold", overflow="fold")
    for what, command in scene.connect:
        table.add_row(what, command)
    return Panel(table, title="try it", title_align="left", box=box.ROUNDED, border_style="dim")


# -------------------------------------------------------------------------------------------------------- for a script


def plain_line(scene: Scene) -> str:
    """The same facts as `name=value`, on one line."""
    leader = next((member for member in scene.members if member.leads), None)
    report = {} if leader is None else leader.report
    total = scene.totals
    facts = [
        f"t={scene.elapsed_s:.1f}s",
        f"leader={leader.id if leader else '-'}",
        f"term={report.get('term', '-')}",
        f"commit={report.get('commit_index', '-')}",
        "applied=" + "/".join(str(member.report.get("applied_index", "-")) for member in scene.members),
        "roles=" + "/".join(member.state for member in scene.members),
        f"lease_ms={leader.lease_left_ns / MS:.0f}" if leader else "lease_ms=-",
        f"hits={total.hits}",
        f"misses={total.misses}",
        *(f"lapses_{cause}={count}" for cause, count in sorted(total.lapses.items())),
        f"stale={total.stale}",
        *(f"redis_{name}={count}" for name, count in total.redis.items() if name != "stale"),
    ]
    for kind in CALLS:
        found = scene.latencies.get(kind, {})
        if "p50_ns" in found:
            facts.append(f"{kind}_p50_us={found['p50_ns'] / 1e3:.3f}")
            facts.append(f"{kind}_p99_us={found['p99_ns'] / 1e3:.3f}")
    return " ".join(facts)
