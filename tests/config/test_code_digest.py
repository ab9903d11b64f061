"""What makes Snakemake run a stage again: the code it computes with, not its comments."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bspa.config.code as code
from bspa.config import code_digest

SCRIPT = "from bspa.alpha import f\nf()\n"
ALPHA = '''"""A."""
from bspa.parts import beta
from bspa.system import log as jobs


def f():
    """Doc."""
    return beta.g()
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bspa"
    (folder / "parts").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Package."""\n')
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "alpha.py").write_text(ALPHA)
    (folder / "parts" / "beta.py").write_text(
        "def g():\n    import bspa.gamma\n    return bspa.gamma.VALUE\n"
    )
    (folder / "gamma.py").write_text("VALUE = 1\n")
    (folder / "jobs.py").write_text("LOG = 1\n")
    (folder / "other.py").write_text("VALUE = 1\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(code, "PACKAGE", folder)
    return tmp_path


def digest(package: Path) -> str:
    code._parse.cache_clear()
    code._tree_digest.cache_clear()
    return code_digest(package / "script.py")


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("gamma.py", "VALUE = 2\n", True),
        ("gamma.py", '"""New docstring."""\nVALUE = 1  # a comment\n', False),
        ("gamma.py", 'VALUE = 1\n"""What it is."""\n', False),
        ("parts/__init__.py", "X = 1\n", True),
        ("other.py", "VALUE = 2\n", False),
        ("jobs.py", "LOG = 2\n", False),
    ],
)
def test_only_what_is_computed_counts(package: Path, file: str, text: str, changes: bool) -> None:
    before = digest(package)
    (package / "bspa" / file).write_text(text)
    assert (digest(package) != before) is changes


def test_a_docstring_of_a_function_does_not_count(package: Path) -> None:
    before = digest(package)
    alpha = package / "bspa" / "alpha.py"
    alpha.write_text(alpha.read_text().replace("Doc.", "A better text."))
    assert digest(package) == before
    alpha.write_text(alpha.read_text().replace("beta.g()", "beta.g() + 1"))
    assert digest(package) != before


def test_every_script_imports_modules_that_exist(root: Path) -> None:
    scripts = sorted((root / "workflow_scripts").glob("*.py"))
    assert scripts
    for script in scripts:
        assert len(code_digest(script)) == 16
        names = {n.module for n in ast.walk(ast.parse(script.read_text())) if isinstance(n, ast.ImportFrom)}
        assert not any(name and name.startswith(("bspa.config", "workflow_scripts")) for name in names), (
            script
        )


def test_the_library_does_not_import_the_workflow(root: Path) -> None:
    for file in (root / "bspa").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            outside = [n for n in names if n.split(".")[0] in ("snakemake", "workflow_scripts", "rules")]
            assert not outside, f"{file}: {outside}"
            if "config" not in file.parts:
                assert not [n for n in names if n.startswith("bspa.config")], file
