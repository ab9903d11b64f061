"""Which versions of Python and of the packages compute here. Standard library only."""

from __future__ import annotations

import functools
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of Python, of bspa and of what it requires, by name; a missing one is left out."""
    found = {"python": platform.python_version()}
    try:
        needed = [line for line in requires("bspa") or [] if "extra ==" not in line]
        found["bspa"] = version("bspa")
    except PackageNotFoundError:  # a checkout that is not installed
        needed = []
    for line in needed:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
