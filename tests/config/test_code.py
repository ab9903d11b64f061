"""The digest of code: what a rule computes counts; comments, wording and logs do not."""

from __future__ import annotations

from pathlib import Path

import pytest

import bspa.config.code as code
from bspa.config.code import code_digest, module_digests

SCRIPT = """\
from bspa.alpha import f
from bspa.system.log import run_job
run_job(f)
"""
ALPHA = """\
from bspa.models import registry
from bspa.parts import beta


def f(x):
    '''Doc.'''
    log.info("begin %d", x)
    assert x, "x is missing"
    if x < 0:
        raise ValueError(f"x is {x}; it must be positive")
    return beta.g()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package: a script, what it runs, a registry with two choices, and what is never followed."""
    files = {
        "__init__.py": "PUBLIC = 1\n",
        "parts/__init__.py": "",
        "parts/beta.py": "def g():\n    import bspa.gamma\n    return bspa.gamma.VALUE\n",
        "alpha.py": ALPHA,
        "gamma.py": "VALUE = 1\n",
        "other.py": "VALUE = 1\n",
        "system/log.py": "TEXT = 1\n",
        "models/registry.py": "from bspa.models import first, second\n",
        "models/first.py": "VALUE = 1\n",
        "models/second.py": "VALUE = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "bspa" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(code, "PACKAGE", tmp_path / "bspa")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("bspa/gamma.py", "1", "2", True),
        ("bspa/alpha.py", "beta.g()", "beta.g() + 1", True),
        ("bspa/alpha.py", "x < 0", "x < 1", True),
        ("bspa/models/first.py", "1", "2", True),
        ("script.py", "run_job(f)", "run_job(f, 1)", True),
        ("bspa/gamma.py", "VALUE", '"""New docstring."""\n# and a comment\nVALUE', False),
        ("bspa/alpha.py", "Doc.", "A better text.", False),
        ("bspa/alpha.py", "begin %d", "start with %d", False),
        ("bspa/alpha.py", "x is missing", "x must be given", False),
        ("bspa/alpha.py", "it must be positive", "allowed: 0 or more", False),
        ("bspa/system/log.py", "1", "2", False),
        ("bspa/models/registry.py", "first, second", "first, second, third", False),
        ("bspa/models/second.py", "1", "2", False),
        ("bspa/other.py", "1", "2", False),
        ("bspa/__init__.py", "1", "2", False),
    ],
)
def test_only_what_is_computed_counts(package: Path, file: str, old: str, new: str, changes: bool) -> None:
    script, chosen, path = package / "script.py", ["bspa.models.first"], package / file
    before = code_digest(module_digests(script, chosen))
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    assert (code_digest(module_digests(script, chosen)) != before) is changes
