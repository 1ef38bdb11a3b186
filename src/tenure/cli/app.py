"""The command group: every subcommand lives in a module of its own, which is imported when it is asked for.

A member that serves thus loads no simulator, and one subcommand whose extra is missing does not take the others along.
"""

from __future__ import annotations

import importlib

import click

from tenure import __version__

__all__ = ["app"]

# Name of the subcommand, the module and the command in it, and what `tenure --help` says of it.
COMMANDS = {
    "demo": ("tenure.cli.demo:demo", "Run a cluster of three members here and watch it work."),
    "serve": ("tenure.cli.serve:serve", "Run one member of a cluster."),
    "status": ("tenure.cli.status:status", "Ask running members how they are."),
    "members": ("tenure.cli.members:members", "Ask who belongs to a running cluster, and change it."),
    "transfer-leader": ("tenure.cli.leadership:transfer_leader", "Hand leadership to another member."),
    "snapshot": ("tenure.cli.leadership:snapshot", "Have a running member take a snapshot now."),
    "recover": ("tenure.cli.recover:recover", "Make a new cluster of one surviving member."),
    "bench": ("tenure.cli.bench:bench", "Measure this machine: leases, rounds, writes, side by side."),
    "log": ("tenure.cli.log:log", "Look at the log and the snapshots of a member that is not running."),
    "check-history": ("tenure.cli.check_history:check_history", "Is a history of operations linearizable?"),
}


class Subcommands(click.Group):
    """A group that knows its subcommands by name and imports them on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the order in which people meet them."""
        return [*COMMANDS, *sorted(super().list_commands(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, meaning) for name, (_, meaning) in COMMANDS.items()])


@click.group(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tenure")
def app() -> None:
    """A Raft-replicated, linearizable store inside a Python server."""
