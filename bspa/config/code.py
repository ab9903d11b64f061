"""Digest of the library code behind a script, so that Snakemake notices when a computation changes.

Snakemake sees the script file but not what it imports. This follows the imports of ``bspa`` modules through
their syntax trees, without running them, and digests the trees without comments and docstrings.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# How a job logs does not change what it computes.
NOT_COMPUTING = frozenset({"bspa.system.log"})


def code_digest(script: str | Path) -> str:
    """Digest every ``bspa`` module that ``script`` imports, directly or through others.

    The script itself is left out: Snakemake tracks it.
    """
    modules: set[str] = set()
    queue = list(_imports(str(Path(script).resolve())))
    while queue:
        module = queue.pop()
        if module not in modules and module not in NOT_COMPUTING:
            modules.add(module)
            queue += _imports(str(_file(module)))
    digest = hashlib.sha256()
    for module in sorted(modules):
        digest.update(f"{module} {_tree_digest(str(_file(module)))}\n".encode())
    return digest.hexdigest()[:16]


def _file(module: str) -> Path:
    """Return the file of a module; raise if there is none."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        raise ValueError(f"{module}: no such module in {PACKAGE}")
    return file


def _is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@functools.cache
def _parse(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"), filename=file)


def _imports(file: str) -> Iterator[str]:
    """Yield the ``bspa`` modules that ``file`` imports anywhere in it, and the packages they lie in."""
    for node in ast.walk(_parse(file)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            # `from bspa import resize` names a module, `from bspa.data.resize import imresize` a function of one.
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [node.module, *(member for member in members if _is_module(member))]
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE.name:
                yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


@functools.cache
def _tree_digest(file: str) -> str:
    tree = _WithoutDocstrings().visit(ast.parse(Path(file).read_text(encoding="utf-8")))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops docstrings, those of attributes too: any expression that is only a string."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Keep an expression unless it is only a string."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return node
