"""What a run's files came from: config, code, packages, photographs, devices; for results/provenance.json."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from bspa.config.plan import Plan
from bspa.config.products import Product
from bspa.system.files import read_key
from bspa.system.versions import package_versions

DELIVERED = ("models", "tables", "figures")
"""Folders whose files are listed with their SHA-256."""


def provenance(plan: Plan) -> dict[str, Any]:
    """Describe the products of a plan that are there, and belong to it as far as keys and dates tell.

    Returns plain values: the config with all defaults, versions, the manifests of photographs (CSV files that
    have the SHA-256 of each), and for each product its rule, file, key, digest of code, and what it reads;
    of delivered files also their SHA-256, of weights seed, steps, precision and device.
    """
    results = Path(plan.config.results)
    there: dict[str, Product] = {}
    for path, product in plan.products().items():  # each after what it needs
        if all(need.path in there for need in product.reads) and _belongs(results, product):
            there[path] = product
    sources = {
        product.path.split("/")[1]: {"manifest": path, "sha256": _sha256(results / path)}
        for path, product in there.items()
        if product.rule == "make_manifest"
    }
    return {
        "config": plan.config.model_dump(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "sources": sources,
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
