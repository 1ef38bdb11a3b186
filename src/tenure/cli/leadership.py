"""`tenure transfer-leader` and `tenure snapshot`: what one running member is told to do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tenure.cli.remote import admin_options, ask, client_of, echo_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["snapshot", "transfer_leader"]


@click.command("transfer-leader")
@click.argument("target", required=False, type=click.IntRange(1), metavar="[TARGET]")
@admin_options
def transfer_leader(
    target: int | None, addresses: tuple[str, ...], token_file: Path | None, timeout: float, as_json: bool
) -> None:
    """Hand leadership to member TARGET, or to the most suitable one. Writes pause for a moment, and none is lost."""
    client = client_of(addresses, token_file)
    request = {} if target is None else {"target": target}
    answer = ask(lambda: client.post("/v1/transfer-leader", request, timeout=timeout), as_json=as_json)
    if as_json:
        echo_json(answer)
    else:
        click.echo(f"member {answer['leader']} leads")


@click.command("snapshot")
@admin_options
def snapshot(addresses: tuple[str, ...], token_file: Path | None, timeout: float, as_json: bool) -> None:
    """Have the member asked take a snapshot of its state now, so that its log may forget what is before it."""
    client = client_of(addresses, token_file)
    answer = ask(lambda: client.post("/v1/snapshot", timeout=timeout), as_json=as_json)
    if as_json:
        echo_json(answer)
    else:
        click.echo(f"member {answer['member']} has a snapshot at index {answer['index']:,}")
