"""Digest of the code that a rule runs, so that an edit of it is noticed.

Snakemake sees a rule's script but not what the script imports. The digest follows the imports of ``bspa``
modules through their syntax trees, without running them. It leaves out what changes no result: comments,
docstrings, log lines, and the wording of errors.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

LEFT_OUT = ("bspa.system", "bspa.models.registry", "bspa.training.registry")
"""Modules, and packages with all in them, that decide no result.

A registry only chooses one of the modules that it imports; the plan names the chosen one.
"""


def code_digest(digests: Mapping[str, str]) -> str:
    """Digest what `module_digests` returns: 16 hexadecimal digits."""
    own, *others = digests.items()
    digest = hashlib.sha256(own[1].encode())
    for module, inner in others:
        digest.update(f"{module} {inner}\n".encode())
    return digest.hexdigest()[:16]


def module_digests(script: str | Path, chosen: Iterable[str] = ()) -> dict[str, str]:
    """Digest ``script``, which comes first, and every ``bspa`` module that it runs, by name.

    Args:
        script: the file of a workflow script; its imports are followed, and theirs.
        chosen: modules that the script runs besides, since a registry chooses them by the settings.
    """
    file = Path(script).resolve()
    own, imports = _read(file, file.read_text(encoding="utf-8"))
    queue = [*imports, *chosen]
    digests: dict[str, str] = {}
    while queue:
        module = queue.pop()
        if module not in digests and not _is_left_out(module):
            file = _path(module)
            digests[module], imports = _read(file, file.read_text(encoding="utf-8"))
            queue += imports
    return {Path(script).name: own, **dict(sorted(digests.items()))}


def _is_left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in LEFT_OUT)


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


@functools.cache
def _read(file: Path, text: str) -> tuple[str, list[str]]:
    """Digest a file's tree, and name the ``bspa`` modules that it imports anywhere; packages hold no code."""
    tree, found = ast.parse(text, filename=file), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from bspa.data import packed` names a module, `from bspa.data.packed import X` a part of one.
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    digest = hashlib.sha256("".join(_tokens(tree)).encode()).hexdigest()
    return digest, [name for name in found if name.startswith(f"{PACKAGE.name}.") and _path(name).is_file()]


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
    match node:
        case ast.Expr(ast.Constant(str())) | ast.Expr(ast.Call(ast.Attribute(ast.Name("log")))):
            return True
    return False


def _is_wording(node: ast.AST, field: str) -> bool:
    """Whether a field holds the message of an error."""
    if isinstance(node, ast.Assert):
        return field == "msg"
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    return field in ("args", "keywords") and name.endswith("Error")
