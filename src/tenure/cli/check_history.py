"""`tenure check-history FILE`: judge a history and answer by the exit code.

The codes are a contract with scripts: whatever goes wrong inside must not look like a verdict, so an internal error and
an interrupt leave by codes of their own instead of click's and Python's 1.
"""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path
from typing import IO, NoReturn

import click

from tenure.sim import HistoryError, Report, Verdict, check, read_history
from tenure.sim.linearizability import MAX_BYTES, MAX_STEPS

__all__ = ["check_history"]

EXIT_CODES = {Verdict.LINEARIZABLE: 0, Verdict.VIOLATION: 1, Verdict.UNDECIDED: 3}
EXIT_BAD_INPUT = 2
EXIT_INTERNAL = 70  # EX_SOFTWARE
EXIT_INTERRUPTED = 130


@click.command("check-history")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--max-steps", type=click.IntRange(1, 1 << 60), default=MAX_STEPS, show_default=True, help="Work bound per key."
)
@click.option(
    "--max-bytes", type=click.IntRange(1, 1 << 60), default=MAX_BYTES, show_default=True, help="Memory bound per key."
)
def check_history(file: str, max_steps: int, max_bytes: int) -> None:
    """Is the history in FILE (JSON lines; - for standard input) linearizable?

    Exit code 0: linearizable. 1: violation, with its explanation. 2: bad input. 3: undecided, a bound was hit.
    """
    try:
        if file == "-":
            report = judge(sys.stdin.buffer, max_steps, max_bytes)
        else:
            with Path(file).open("rb") as stream:
                report = judge(stream, max_steps, max_bytes)
    except HistoryError as error:
        place = "" if error.path is not None else f"{file}: "
        leave(f"tenure: {place}{error}", EXIT_BAD_INPUT)
    except OSError as error:
        leave(f"tenure: cannot read {file}: {error.strerror or error}", EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        leave("tenure: interrupted", EXIT_INTERRUPTED)
    except Exception:  # noqa: BLE001 - whatever it is, it must not leave by a verdict's code
        leave(f"{traceback.format_exc()}tenure: internal error, no verdict", EXIT_INTERNAL)
    try:
        click.echo(summary(report))
    except BrokenPipeError:
        sys.stdout = io.StringIO()  # nobody reads; the code still tells
    sys.exit(EXIT_CODES[report.verdict])


def judge(stream: IO[bytes], max_steps: int, max_bytes: int) -> Report:
    return check(read_history(stream), max_steps=max_steps, max_bytes=max_bytes)


def summary(report: Report) -> str:
    first = f"{report.verdict.value}: {report.operations} operations, {report.keys} keys searched, {report.steps} steps"
    if report.violation is not None:
        return f"{first}\n{report.violation.render()}"
    if report.undecided_keys:
        names = ", ".join(ascii(key)[:40] for key in report.undecided_keys[:10])
        return f"{first}\na bound was hit on {len(report.undecided_keys)} keys: {names}"
    return first


def leave(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
