"""Show the training runs of a folder of results on a page: curves and pictures, of runs in progress too.

The page needs no other file. Its pictures are the previews of `training.validation.previews`.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument(
        "results", nargs="?", default="results", help="folder of results (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="the page (default: live.html in that folder)")
    text = "write it again every so many seconds, until Ctrl-C; the page then reloads itself"
    parser.add_argument("--watch", type=float, metavar="SECONDS", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand; return 0."""
    import time
    from pathlib import Path

    from bspa.live import read_runs, to_page
    from bspa.system.files import write_text

    seconds = arguments.watch
    if seconds is not None and not seconds > 0:
        raise ValueError(f"--watch: {seconds:g} seconds; allowed are numbers above 0")
    output = Path(arguments.output or Path(arguments.results, "live.html"))
    while True:
        page = to_page(read_runs(arguments.results), f"Training in {arguments.results}", refresh=seconds)
        write_text(output, page)
        if seconds is None:
            print(output)
            return 0
        time.sleep(seconds)
