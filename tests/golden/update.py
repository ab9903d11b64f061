"""Remake tests/golden/expected.json: `python -m tests.golden.update`, in the checkout.

The values are those of this checkout, or of the one that is named; this takes minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.golden.comparison import difference
from tests.golden.products import digest_products
from tests.golden.project import EXPECTED, ROOT, describe_environment, make_golden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose code to run (this one)")
    parser.add_argument("--revision", help="its commit, to be noted; where it is not a checkout of git")
    parser.add_argument(
        "--output", type=Path, default=EXPECTED, help="file to write (tests/golden/expected.json)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = make_golden(arguments.checkout.resolve(), Path(folder) / "bspa")
        products = digest_products(project.results)
    before = json.loads(arguments.output.read_text())["products"] if arguments.output.exists() else {}
    print(difference(before, products, exact=True) or "nothing changed")
    code = arguments.revision or _revision(arguments.checkout)
    text = as_text({"code": code, "environment": describe_environment(), "products": products})
    arguments.output.write_text(text, encoding="utf-8")


def _revision(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def as_text(content: dict[str, Any]) -> str:
    """Write one product a line, so that a change of a few is a change of a few lines."""
    products = ",\n".join(f"  {json.dumps(path)}: {json.dumps(p)}" for path, p in content["products"].items())
    head = json.dumps({name: value for name, value in content.items() if name != "products"}, indent=1)
    return f'{head[:-2]},\n "products": {{\n{products}\n }}\n}}\n'


if __name__ == "__main__":
    main()
