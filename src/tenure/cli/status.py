"""`tenure status ADDRESS...`: ask running members how they are.

One address is enough: a member tells where the others' admin endpoints are, as far as it knows. With `--wait` it asks
again until the cluster is whole: every member answers, one of them leads, and all have applied what was committed when
that was first so. Exit codes: 0 every member answered and one of them leads (with `--wait`: the cluster is whole), 1
otherwise.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

__all__ = ["ask_all", "milliseconds", "short_duration", "status", "status_table"]

AT_A_TIME = 16
PAUSE_S = 0.1
WIDE = 120


@click.command("status")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--json", "as_json", is_flag=True, help="The members' own reports, one JSON object to a line.")
@click.option(
    "--timeout", type=click.FloatRange(0.05, 60), default=2.0, show_default=True, help="Seconds for each answer."
)
@click.option("--wait", type=click.FloatRange(0.1, 3600), help="Seconds within which the cluster should be whole.")
def status(addresses: tuple[str, ...], as_json: bool, timeout: float, wait: float | None) -> None:
    """Ask the members whose admin endpoints (HOST:PORT) are given, and those that they know."""
    from tenure.admin.client import split_address

    for address in addresses:
        try:
            split_address(address)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="ADDRESS") from None
    reports = ask_all(addresses, timeout)
    done = is_led(reports)
    if wait is not None:
        reports, done = wait_until_whole(addresses, timeout, time.monotonic() + wait)
    if as_json:
        for address, report in reports.items():
            click.echo(json.dumps({"address": address, **report}))
    else:
        from rich.console import Console

        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
        console.print(status_table(list(reports.items()), wide=console.width >= WIDE))
    sys.exit(0 if done else 1)


def is_led(reports: dict[str, dict[str, Any]]) -> bool:
    """Whether every member answered and one of them leads."""
    whole = all("error" not in report for report in reports.values())
    return whole and any(report.get("state") == "leader" for report in reports.values())


def wait_until_whole(
    addresses: Sequence[str], timeout: float, deadline: float
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Ask until the cluster is whole, or the deadline is over; the last reports, and whether it is."""
    wanted: int | None = None
    while True:
        reports = ask_all(addresses, timeout)
        if is_led(reports):
            if wanted is None:
                wanted = max(report.get("commit_index", 0) for report in reports.values())
            if all(report.get("applied_index", -1) >= wanted for report in reports.values()):
                return reports, True
        if time.monotonic() > deadline:
            return reports, False
        time.sleep(PAUSE_S)


def ask_all(addresses: Sequence[str], timeout: float) -> dict[str, dict[str, Any]]:
    """The reports of the members asked and of those they name; {"error": ...} for a member that does not answer."""
    reports: dict[str, dict[str, Any]] = {}
    wanted = list(dict.fromkeys(addresses))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        while wanted:
            reports |= zip(wanted, pool.map(lambda address: ask(address, timeout), wanted), strict=True)
            told = {
                other["admin"]: int(id)
                for report in reports.values()
                for id, other in report.get("members", {}).items()
                if other.get("admin")
            }
            known = {report.get("member_id") for report in reports.values()}
            wanted = [address for address, id in told.items() if address not in reports and id not in known]
            for address, id in told.items():
                if "error" in reports.get(address, {}):
                    reports[address]["member_id"] = id
    return dict(sorted(reports.items(), key=lambda item: (item[1].get("member_id", 1 << 62), item[0])))


def ask(address: str, timeout: float) -> dict[str, Any]:
    """One member's report, or what went wrong."""
    from tenure.admin.client import ask_status
    from tenure.errors import TenureError

    try:
        return ask_status(address, timeout=timeout)
    except (TenureError, OSError) as error:
        return {"error": str(error)}


def status_table(reports: Sequence[tuple[str, dict[str, Any]]], *, wide: bool = True) -> Table:
    """The members as a table, for `rich`; fewer columns where there is little room."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [column for column in COLUMNS if wide or column[2]]
    for name, numeric, _ in shown:
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for address, report in reports:
        cells: dict[str, str | Text] = {"member": str(report.get("member_id", "?")), "admin": address}
        if "error" in report:
            cells["state"] = Text("no answer", style="red")
        else:
            counters = report.get("counters", {})
            cells |= {
                "state": Text(report["state"], style=STYLES.get(report["state"], "")),
                "term": str(report.get("term", "-")),
                "leader": str(report.get("leader") or "-"),
                "commit": f"{report.get('commit_index', 0):,}",
                "applied": f"{report.get('applied_index', 0):,}",
                "lease": milliseconds(report.get("lease_remaining_ns", 0)),
                "keys": f"{report.get('keys', 0):,}",
                "lapses": str(sum(count for name, count in counters.items() if name.startswith("lapses_"))),
                "up": f"{report.get('uptime_s', 0):.0f} s",
                "redis": report.get("redis_address") or "-",
            }
        table.add_row(*(cells.get(name, "-") for name, _, _ in shown))
    return table


# Name, whether its values are numbers, and whether it is shown where there is little room.
COLUMNS = (
    ("member", False, True),
    ("state", False, True),
    ("term", True, True),
    ("leader", True, False),
    ("commit", True, False),
    ("applied", True, True),
    ("lease", True, True),
    ("keys", True, False),
    ("lapses", True, True),
    ("up", True, False),
    ("admin", False, True),
    ("redis", False, False),
)
STYLES = {"leader": "bold green", "follower": "cyan", "candidate": "yellow", "pre-candidate": "yellow", "failed": "red"}


def milliseconds(duration_ns: int) -> str:
    """A lease's rest; "-" for none."""
    return f"{duration_ns / 1e6:.0f} ms" if duration_ns > 0 else "-"


def short_duration(duration_ns: float | None) -> str:
    """A latency with three digits and its unit."""
    if duration_ns is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if duration_ns >= size:
            return f"{duration_ns / size:.3g} {unit}"
    return f"{duration_ns:.0f} ns"
