"""What a run's files came from: config, code, packages, photographs, devices; for results/provenance.json."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bspa.config.plan import Plan
from bspa.config.products import Product, lineage
from bspa.system.digests import read_note
from bspa.system.files import read_key
from bspa.system.origin import merge_ran, photographs_in
from bspa.system.versions import package_versions

DELIVERED = ("models", "tables", "figures")
"""Folders whose files are listed with their SHA-256."""

OF_INPUTS = ("evaluations", "runs")
"""Settings of tables and figures that repeat the settings of what they read."""


def origin(product: Product, results: str) -> dict[str, Any]:
    """Say what decides a product, for its header: the plan's part of `bspa.system.origin.Origin`.

    ``manifests`` stands for ``data``: source -> file. Nothing here decides more than the product's key does.
    """
    products = lineage([product]).values()
    settings: dict[str, dict[str, list[Any]]] = {}
    for made in products:
        of_rule = settings.setdefault(made.rule, {})
        for name, value in made.counted.items():
            if name not in OF_INPUTS and value not in (values := of_rule.setdefault(name, [])):
                values.append(value)
    return {
        "rule": product.rule,
        "key": product.key,
        "settings": settings,
        **_code(products),
        "manifests": {source: f"{results}/{path}" for source, path in _manifests(products).items()},
    }


def _code(products: Iterable[Product]) -> dict[str, Any]:
    """Return the digests of each rule's code and of each module, and whether steps depend on the clock."""
    code: dict[str, list[str]] = {}
    modules: dict[str, str] = {}
    for made in products:
        if made.code and made.code not in (digests := code.setdefault(made.rule, [])):
            digests.append(made.code)
        modules.update(made.modules)
    timed = any("matched" in made.needs for made in products)
    return {"code": code, "modules": {n: modules[n][:16] for n in sorted(modules)}, "timed": timed}


def _manifests(products: Iterable[Product]) -> dict[str, str]:
    return {made.path.split("/")[1]: made.path for made in products if made.rule == "make_manifest"}


def provenance(plan: Plan) -> dict[str, Any]:
    """Describe the products of a plan that are there, and belong to it as far as keys and dates tell.

    Returns plain values: the config with all defaults, versions, the manifests of photographs (CSV files that
    have the SHA-256 of each), ``code``, ``modules``, ``timed``, ``data`` and ``ran`` as in
    `bspa.system.origin.Origin`, and for each product its rule, file, key, digest of code, and what it reads;
    of delivered files also their SHA-256, of weights seed, steps, precision and device.
    """
    results = Path(plan.config.results)
    there: dict[str, Product] = {}
    for path, product in plan.products().items():  # each after what it needs
        if all(need.path in there for need in product.reads) and _belongs(results, product):
            there[path] = product
    manifests = _manifests(there.values())
    return {
        "config": plan.config.model_dump(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "sources": {
            name: {"manifest": path, "sha256": _sha256(results / path)} for name, path in manifests.items()
        },
        **_code(there.values()),
        "data": {name: photographs_in(results / path) for name, path in manifests.items()},
        "ran": merge_ran(entry for path in there for entry in read_note(results / path) or ()),
        "products": [_describe(results, product) for product in there.values()],
    }


def _belongs(results: Path, product: Product) -> bool:
    """Whether a product's file has its key, or, without a key, is not older than what it was made of."""
    file = results / product.path
    if not file.exists():
        return False
    key = read_key(file)
    if key is not None:
        return key == product.key
    made = file.stat().st_mtime
    return all((results / need.path).stat().st_mtime <= made for need in product.reads)


def _describe(results: Path, product: Product) -> dict[str, Any]:
    described: dict[str, Any] = {
        "file": product.path,
        "rule": product.rule,
        "key": product.key,
        "code": product.code,
        "reads": [need.path for need in product.reads],
    }
    file = results / product.path
    if product.path.split("/")[0] in DELIVERED:
        described["sha256"] = _sha256(file)
    if product.rule == "deliver_weights":
        summary = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        described |= {name: summary[name] for name in ("steps", "precision", "device")}
        described["seed"] = product.settings["seed"]
    return described


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
