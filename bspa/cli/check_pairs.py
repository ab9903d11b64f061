"""Compare given LR images with those that this workflow makes from their HR images.

Each pair is listed with the number of samples that differ. The exit status is 1 if any differs.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    parser.add_argument("folder", help="folder of the pairs; may hold {scale}")
    parser.add_argument("--scale", type=int, required=True, help="HR pixels to an LR pixel, e.g. 4")
    parser.add_argument("--hr", default="*_HR.png", metavar="PATTERN", help="HR files (default: %(default)s)")
    parser.add_argument("--lr", default="*_LR.png", metavar="PATTERN", help="LR files (default: %(default)s)")
    edges = ("clamp", "symmetric")
    parser.add_argument("--border", choices=edges, default="clamp", help="edge rule (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand; return 1 if a sample differs."""
    from bspa.data.check_pairs import check_pairs

    options = {"hr": arguments.hr, "lr": arguments.lr, "border": arguments.border}
    return int(not check_pairs(arguments.folder, arguments.scale, **options))
