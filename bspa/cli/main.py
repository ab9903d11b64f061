"""The command `bspa`."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

COMMANDS = {
    "init": "bspa.cli.init",
    "upscale": "bspa.cli.upscale",
    "compare": "bspa.cli.compare",
    "info": "bspa.cli.info",
    "diff": "bspa.cli.diff",
    "card": "bspa.cli.card",
    "export": "bspa.cli.export",
    "live": "bspa.cli.live",
    "check-pairs": "bspa.cli.check_pairs",
}
"""Subcommand -> module. Its docstring is the help; it has `add_arguments(parser)` and `run(arguments)`,
which returns the exit status. It loads torch, numpy and the like only inside its functions: `bspa --help` is
to be quick."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command with all subcommands."""
    parser = argparse.ArgumentParser("bspa", description="Super-resolution networks and their pictures.")
    parser.add_argument("--version", action="version", version=f"bspa {version('bspa')}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        module = importlib.import_module(module_name)
        help_text = str(module.__doc__)
        subcommand = subcommands.add_parser(
            name,
            help=help_text.splitlines()[0],
            description=help_text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subcommand)
        subcommand.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 2 a mistake of the user's, 130 stopped by Ctrl-C."""
    chosen = build_parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        return int(chosen.run(chosen))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
