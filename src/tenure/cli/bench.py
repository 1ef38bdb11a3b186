"""`tenure bench`: run the suite on this machine and show what was found.

The exit code says whether it ran, not how fast: 0 when every measurement was taken, 1 when one failed.
With `--strict` a missed floor counts as a failure too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

    from tenure._bench.results import Finding
    from tenure._bench.suite import Report

__all__ = ["bench"]

EXIT_FAILED = 1
EXIT_MISSING_EXTRA = 69  # EX_UNAVAILABLE
EXIT_INTERRUPTED = 130
FILE_COLUMNS = 140  # a file has no width: the whole table


@click.command("bench")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the findings to FILE."
)
@click.option(
    "--plot",
    "plot_directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw the distributions into DIR: latency.png and latency.html.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where the members keep their logs meanwhile: decides which disk is measured. [default: temporary files]",
)
@click.option(
    "--short", is_flag=True, help="A few seconds instead of half a minute: shows that it works, not how fast."
)
@click.option("--strict", is_flag=True, help="Fail when a floor is missed.")
def bench(
    json_file: Path | None, plot_directory: Path | None, directory: Path | None, short: bool, strict: bool
) -> None:
    """Measure lease reads, quorum reads and durable writes on this machine, side by side with what bounds them."""
    try:
        from rich.console import Console
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        leave("tenure: the table needs the extra `cli`: pip install 'tenure[cli]'", EXIT_MISSING_EXTRA)
    if plot_directory is not None:
        require_matplotlib()
    from tenure._bench.processes import RemoteFailure
    from tenure._bench.suite import FULL, SHORT

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_COLUMNS
    try:
        report = measured(console, SHORT if short else FULL, directory)
    except KeyboardInterrupt:
        leave("tenure: interrupted", EXIT_INTERRUPTED)
    except (RemoteFailure, RuntimeError, OSError) as error:
        leave(f"tenure: the benchmark failed: {error}", EXIT_FAILED)
    show(console, report)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps([finding.as_dict() for finding in report.findings], indent=2) + "\n")
        console.print(f"[dim]findings:[/] {json_file}")
    if plot_directory is not None:
        draw(console, report, plot_directory)
    if strict and any(finding.floor_met is False for finding in report.findings):
        sys.exit(EXIT_FAILED)


def require_matplotlib() -> None:
    """Say so before half a minute has passed."""
    try:
        import matplotlib as _  # noqa: F401 - asked for here, so that its absence gets a sentence and costs no time
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        leave("tenure: --plot needs the extra `bench`: pip install 'tenure[bench]'", EXIT_MISSING_EXTRA)


def measured(console: Console, effort: object, directory: Path | None) -> Report:
    """Run the suite under a progress bar."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from tenure._bench.suite import Effort, run

    assert isinstance(effort, Effort)
    columns = (SpinnerColumn(), TextColumn("{task.description:<40}"), BarColumn(bar_width=40), TimeElapsedColumn())
    # a refresh takes a core for a moment, on a machine that may have two: rarely
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress:
        task = progress.add_task("fence", total=1.0)
        return run(effort, directory, lambda what, done: progress.update(task, description=what, completed=done))


def show(console: Console, report: Report) -> None:
    """The table."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", padding=(0, 1), pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("value", "unit", "reference", "ratio", "goal", ""):
        table.add_column(
            heading, justify="right" if heading in {"value", "ratio", "reference"} else "left", no_wrap=True
        )
    for finding in report.findings:
        table.add_row(
            finding.name,
            f"[bold]{number(finding.value)}[/]",
            finding.unit,
            "" if finding.reference is None else f"{number(finding.reference)} [dim]{finding.reference_name}[/]",
            "" if finding.ratio is None else f"{finding.ratio:.2f}",
            str(finding.goal or ""),
            verdict(finding),
        )
    console.print(table)
    for skipped in report.skipped:
        console.print(f"[dim]left out:[/] {skipped}")
    console.print(f"[dim]{report.seconds:.0f} s; latencies are medians of rounds in turn with their reference[/]")


def verdict(finding: Finding) -> str:
    """Met, or which bound was missed."""
    if finding.met is None:
        return ""
    if finding.met:
        return "[green]met[/]"
    if finding.floor_met:
        return f"[yellow]floor met[/] [dim]({finding.floor})[/]"
    return "[red]missed[/]"


def number(value: float) -> str:
    """For people: four digits that count."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def draw(console: Console, report: Report, into: Path) -> None:
    """The pictures."""
    from tenure._bench.picture import write_html, write_png

    into.mkdir(parents=True, exist_ok=True)
    write_png(report.shapes, into / "latency.png")
    write_html(report.shapes, report.findings, into / "latency.html")
    console.print(f"[dim]pictures:[/] {into / 'latency.png'}, {into / 'latency.html'}")


def leave(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
