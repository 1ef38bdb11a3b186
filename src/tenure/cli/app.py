"""The command group: every subcommand lives in a module of its own and is added here."""

import click

from tenure import __version__
from tenure.cli.bench import bench
from tenure.cli.check_history import check_history

__all__ = ["app"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tenure")
def app() -> None:
    """A Raft-replicated, linearizable store inside a Python server."""


app.add_command(bench)
app.add_command(check_history)
