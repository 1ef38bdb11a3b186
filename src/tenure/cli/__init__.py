"""The command line. `main` is the entry point of the `tenure` command; nothing else of tenure imports this package."""

import sys

__all__ = ["main"]

EXIT_MISSING_EXTRA = 69  # EX_UNAVAILABLE: away from 1 to 3, which are verdicts of `check-history`


def main() -> None:
    """Run the `tenure` command; ends the process."""
    try:
        import click  # noqa: F401 - asked for here, so that its absence gets a sentence instead of a traceback
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("tenure: the command line needs the extra `cli`: pip install 'tenure[cli]'", file=sys.stderr)
        sys.exit(EXIT_MISSING_EXTRA)
    from tenure.cli.app import app

    app(prog_name="tenure")
