"""`tenure members`: who belongs to a running cluster, and changes of it, one at a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.remote import admin_options, ask, client_of, echo_json

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

__all__ = ["members"]

PATH = "/v1/members"
MEMBER_ID = click.IntRange(1, (1 << 64) - 1)


@click.group("members")
def members() -> None:
    """Ask who belongs to a running cluster, and change it.

    Any member may be asked; changes are passed on to the leader where its admin address is known. A change returns
    when it is committed and applied. A new host needs none of these: `tenure serve --join` adds and promotes itself.
    """


@members.command("list")
@admin_options
def list_members(addresses: tuple[str, ...], token_file: Path | None, timeout: float, as_json: bool) -> None:
    """Who belongs to the cluster, as the member asked knows it."""
    client = client_of(addresses, token_file)
    show(ask(lambda: client.get(PATH, timeout=timeout), as_json=as_json), as_json=as_json)


@members.command("add-learner")
@click.argument("member_id", type=MEMBER_ID, metavar="ID")
@click.argument("address", metavar="HOST:PORT")
@admin_options
def add_learner(member_id: int, address: str, **how: Any) -> None:
    """Let member ID, which other members reach at HOST:PORT, follow without a vote."""
    change({"change": "add-learner", "id": member_id, "address": address}, **how)


@members.command("promote")
@click.argument("member_id", type=MEMBER_ID, metavar="ID")
@admin_options
def promote(member_id: int, **how: Any) -> None:
    """Give learner ID a vote; waits for it to catch up."""
    change({"change": "promote", "id": member_id}, **how)


@members.command("demote")
@click.argument("member_id", type=MEMBER_ID, metavar="ID")
@admin_options
def demote(member_id: int, **how: Any) -> None:
    """Take the vote of member ID, which follows on."""
    change({"change": "demote", "id": member_id}, **how)


@members.command("add")
@click.argument("member_id", type=MEMBER_ID, metavar="ID")
@click.argument("address", metavar="HOST:PORT")
@admin_options
def add(member_id: int, address: str, **how: Any) -> None:
    """Let member ID vote at once. Until it has caught up the cluster tolerates less: prefer add-learner and promote."""
    change({"change": "add", "id": member_id, "address": address}, **how)


@members.command("remove")
@click.argument("member_id", type=MEMBER_ID, metavar="ID")
@admin_options
def remove(member_id: int, **how: Any) -> None:
    """Take member ID out of the cluster for good; its id is never used again. Stop its process afterwards."""
    change({"change": "remove", "id": member_id}, **how)


def change(
    request: dict[str, Any], *, addresses: tuple[str, ...], token_file: Path | None, timeout: float, as_json: bool
) -> None:
    """One change, and the membership that it made."""
    client = client_of(addresses, token_file)
    show(ask(lambda: client.post(PATH, request, timeout=timeout), as_json=as_json), as_json=as_json)


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    """A membership as one JSON object or as a table."""
    if as_json:
        echo_json(answer)
        return
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print(members_table(answer))
    if answer["joint"]:
        console.print("The configuration is joint: both its halves decide until it is left.")


def members_table(answer: dict[str, Any]) -> Table:
    """The members as a table, for `rich`."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("member", "address", "role", "leader", "admin"):
        table.add_column(name, no_wrap=True)
    for one in answer["members"]:
        table.add_row(
            str(one["id"]), one["address"] or "-", role(one), "leader" if one["leader"] else "", one["admin"] or "-"
        )
    return table


def role(one: dict[str, Any]) -> str:
    """What a member is in the configuration."""
    if one["voter"]:
        return "voter"
    if one["learner"]:
        return "learner"
    return "leaving" if one["outgoing"] else "-"
