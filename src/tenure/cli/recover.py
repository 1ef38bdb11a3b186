"""`tenure recover`: a new cluster from one surviving member, when the majority of the old one is lost for good.

Exit codes: 0 done, 1 the directory cannot be used, 2 the command line makes no sense or nobody confirmed.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from tenure.engine.recovery import Survivor

__all__ = ["recover"]

EXIT_REFUSED = 1
EXIT_USELESS = 2

WARNING = """\
{directory} belongs to member {id} of cluster {cluster}.
Its log ends at index {last_index:,} of term {last_term}; {commit_index:,} are known to be committed.

A new cluster will be made of it. What it does not hold is lost, acknowledged or not; what it holds and was never
acknowledged takes effect. The other members' directories can never join the new cluster.

Do this only when a majority of the old members is lost for good, and none of them runs: two clusters would serve
clients side by side, and neither would know of the other. Of several survivors take the one whose last term, and then
whose last index, is greatest."""

DONE = """\
member {id} is now the only member of cluster {cluster}; the old files are in {kept}.
Start it, and let new members join it:

    tenure serve --cluster {cluster} --id {id} --member {id}={address} --directory {directory}"""


@click.command("recover")
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@click.option("--id", "member_id", type=click.IntRange(1), required=True, help="The member whose directory it is.")
@click.option(
    "--address", metavar="HOST:PORT", required=True, help="Where members of the new cluster will reach this one."
)
@click.option(
    "--yes-i-understand-that-writes-may-be-lost", "confirmed", is_flag=True, help="Do not ask for a confirmation."
)
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
def recover(directory: str, member_id: int, address: str, confirmed: bool, as_json: bool) -> None:
    """Make a new cluster of the surviving member ID whose DIRECTORY this is. The member must not run."""
    from tenure.admin.address import split_address
    from tenure.engine import recovery
    from tenure.errors import TenureError

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        if split_address(address)[1] == 0:
            raise ValueError(f"{address!r} has no port")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--address") from None
    try:
        if not confirmed and not recovery.pending(directory):
            survivor = recovery.survey(directory, member_id)
            confirm(directory, survivor)
        made = recovery.recover(directory, member_id, address)
    except TenureError as error:
        leave(f"tenure: {error}", EXIT_REFUSED)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "cluster": str(made.cluster_id),
                    "member": made.member_id,
                    "base_index": made.base_index,
                    "kept": str(made.kept),
                }
            )
        )
    else:
        click.echo(
            DONE.format(
                id=made.member_id, cluster=made.cluster_id, kept=made.kept, address=address, directory=directory
            )
        )


def confirm(directory: str, survivor: Survivor) -> None:
    """Go on only when the operator has typed what is about to happen."""
    click.echo(
        WARNING.format(
            directory=directory,
            id=survivor.member_id,
            cluster=survivor.cluster_id,
            last_index=survivor.last_index,
            last_term=survivor.last_term,
            commit_index=survivor.commit_index,
        ),
        err=True,
    )
    wanted = f"recover member {survivor.member_id}"
    click.echo(f"\nTo go on, type: {wanted}", err=True)
    if sys.stdin.readline().strip() != wanted:
        leave("tenure: not confirmed; nothing was changed", EXIT_USELESS)


def leave(message: str, code: int) -> NoReturn:
    """End the process with a word on standard error."""
    click.echo(message, err=True)
    sys.exit(code)
