"""Digest of the code that a rule runs, so that an edit of it is noticed.

Snakemake sees a rule's script but not what the script imports. The digest follows the imports of ``bspa``
modules through their syntax trees, without running them. It leaves out what changes no result: comments,
docstrings, log lines, and the wording of errors.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

LEFT_OUT = ("bspa.system", "bspa.models.registry", "bspa.training.registry")
"""Modules, and packages with all in them, that decide no result.

A registry only chooses one of the modules that it imports; the plan names the chosen one.
"""


def code_digest(script: str | Path, chosen: Iterable[str] = ()) -> str:
    """Digest ``script`` and every ``bspa`` module that it runs.

    Args:
        script: the file of a workflow script; its imports are followed, and theirs.
        chosen: modules that the script runs besides, since a registry chooses them by the settings.

    Returns:
        16 hexadecimal digits.

    Raises:
        ValueError: a chosen module does not exist.
    """
    modules: set[str] = set()
    queue = [*_imports(str(Path(script).resolve())), *chosen]
    while queue:
        module = queue.pop()
        if module not in modules and not _is_left_out(module):
            modules.add(module)
            queue += _imports(str(_file(module)))
    digest = hashlib.sha256(_tree_digest(str(Path(script).resolve())).encode())
    for module in sorted(modules):
        digest.update(f"{module} {_tree_digest(str(_file(module)))}\n".encode())
    return digest.hexdigest()[:16]


def _is_left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in LEFT_OUT)


def _file(module: str) -> Path:
    file = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise ValueError(f"{module}: no such module in {PACKAGE}")
    return file


@functools.cache
def _parse(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"), filename=file)


@functools.cache
def _imports(file: str) -> tuple[str, ...]:
    """Name the ``bspa`` modules that ``file`` imports anywhere in it; packages hold no code."""
    found = []
    for node in ast.walk(_parse(file)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from bspa.data import packed` names a module, `from bspa.data.packed import X` a part of one.
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in found if name.startswith(f"{PACKAGE.name}.") and _is_module(name))


def _is_module(name: str) -> bool:
    return PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()


@functools.cache
def _tree_digest(file: str) -> str:
    return hashlib.sha256("".join(_tokens(_parse(file))).encode()).hexdigest()


def _tokens(node: object) -> Iterator[str]:
    """Write a tree as text that is the same under every version of Python (`ast.dump` is not)."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            # Versions differ in which fields they have when these are empty.
            if value not in (None, []) and not _is_wording(node, name):
                yield f" {name}="
                yield from _tokens(value)
        yield ")"
    elif isinstance(node, list):
        for item in node:
            if not (isinstance(item, ast.AST) and _changes_nothing(item)):
                yield from _tokens(item)
                yield ","
    else:
        yield repr(node)


def _changes_nothing(node: ast.AST) -> bool:
    """Whether this is a docstring, or a statement that only logs."""
    if not isinstance(node, ast.Expr):
        return False
    value = node.value
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return True
    called = value.func if isinstance(value, ast.Call) else None
    return (
        isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log"
    )


def _is_wording(node: ast.AST, field: str) -> bool:
    """Whether a field holds the message of an error."""
    if isinstance(node, ast.Assert):
        return field == "msg"
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    return field in ("args", "keywords") and name.endswith("Error")
