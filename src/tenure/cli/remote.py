"""What the commands that talk to a running member have in common: whom they ask, with what token, and how they end.

Exit codes: 0 done, 1 refused or not reached, 2 the command line makes no sense, 3 the outcome is unknown.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenure.admin import AdminClient

__all__ = ["admin_options", "ask", "client_of", "echo_json", "read_token"]

EXIT_REFUSED = 1
EXIT_UNKNOWN = 3
TOKEN_VARIABLE = "TENURE_ADMIN_TOKEN"

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


def admin_options(command: Decorated) -> Decorated:
    """The options by which a command finds a member."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object."),
        click.option(
            "--timeout",
            type=click.FloatRange(0.05, 60),
            default=10.0,
            show_default=True,
            help="Seconds; a refusal that may pass is repeated until then.",
        ),
        click.option(
            "--token-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"File with the bearer token that the member wants; else ${TOKEN_VARIABLE}.",
        ),
        click.option(
            "--admin",
            "addresses",
            multiple=True,
            required=True,
            envvar="TENURE_ADMIN",
            metavar="HOST:PORT",
            help="Admin address of a running member; several: the first that answers. Else $TENURE_ADMIN.",
        ),
    ):
        command = option(command)
    return command


def read_token(file: Path | None) -> str | None:
    """The token of a file, else of the environment; None: there is none."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot read {file}: {error}", param_hint="--token-file") from None


def client_of(addresses: tuple[str, ...], token_file: Path | None) -> AdminClient:
    """A client for the members at these addresses."""
    from tenure.admin import AdminClient

    try:
        return AdminClient(addresses, token=read_token(token_file))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--admin") from None


def ask(question: Callable[[], dict[str, Any]], *, as_json: bool) -> dict[str, Any]:
    """The answer to a question; an error ends the process with a word about it."""
    from tenure.admin.wire import error_json
    from tenure.errors import NotLeader, OutcomeUnknown, TenureError

    try:
        return question()
    except TenureError as error:
        if as_json:
            echo_json(error_json(error))
        hint = ""
        if isinstance(error, NotLeader) and error.leader is not None:
            hint = f"; not leader, leader is {error.leader}"
        leave(f"tenure: {error}{hint}", EXIT_UNKNOWN if isinstance(error, OutcomeUnknown) else EXIT_REFUSED)
    except OSError as error:
        if as_json:
            echo_json({"error": {"code": "unreachable", "message": str(error), "retryable": True}})
        leave(f"tenure: {error}", EXIT_REFUSED)


def echo_json(answer: dict[str, Any]) -> None:
    """One object, on one line."""
    click.echo(json.dumps(answer))


def leave(message: str, code: int) -> NoReturn:
    """End the process with a word on standard error."""
    click.echo(message, err=True)
    sys.exit(code)
