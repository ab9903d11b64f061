"""The manifest of a source: which photographs it holds, how large they are, and the digests of their files.

A CSV file, sorted by id and scale. A source of photographs has one row for each; a source of given HR/LR
pairs has one for each image and scale, since the HR file may differ between scales too.

| column | holds |
|---|---|
| id | name, unique within the source (and scale) |
| path, sha256 | the photograph's file; with pairs, the HR file |
| width, height | in pixels, upright |
| scale, lr_path, lr_sha256 | with pairs, the LR file and its scale; empty otherwise |
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.system.files import atomic_path

COLUMNS = ("id", "path", "width", "height", "sha256", "scale", "lr_path", "lr_sha256")


def write_manifest(manifest: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a manifest as CSV."""
    with atomic_path(path) as temporary:
        manifest.to_csv(temporary, index=False, columns=list(COLUMNS))


def read_manifest(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a manifest; ids such as ``001`` and ``NA`` stay text, a scale that is not there is `pandas.NA`.

    Raises:
        ValueError: the file is not a manifest.
    """
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        if tuple(text.columns) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(text.columns)}; expected {', '.join(COLUMNS)}")
        return text.assign(
            width=text["width"].astype(int),
            height=text["height"].astype(int),
            scale=text["scale"].mask(text["scale"] == "").astype("Int64"),
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not a manifest ({error}); delete it and let make_manifest redo it"
        ) from error


def rows_for_scale(manifest: pd.DataFrame, scale: int) -> pd.DataFrame:
    """Return the rows that serve ``scale``: the pairs for it, or every photograph of a source without pairs.

    Raises:
        ValueError: the source is given as pairs, and none is for this scale.
    """
    paired = manifest["scale"].notna()
    if not paired.any():
        return manifest
    rows = manifest[manifest["scale"] == scale]
    if rows.empty:
        given = ", ".join(map(str, sorted(manifest["scale"].unique())))
        raise ValueError(f"the manifest has no HR/LR pairs for scale {scale}; it has them for {given}")
    return rows


def cut_shapes(manifest: pd.DataFrame, scale: int) -> NDArray[np.int64]:
    """Return (n, 2) heights and widths of the rows, cut to multiples of ``scale``."""
    shapes = manifest[["height", "width"]].to_numpy(np.int64)
    return shapes - shapes % scale


def describe(manifest: pd.DataFrame) -> str:
    """Say how many photographs and megapixels a manifest has, each photograph of several pairs once."""
    once = manifest.drop_duplicates("id")
    megapixels = float((once["width"] * once["height"]).sum()) / 1e6
    return f"{len(once)} photographs, {megapixels:.1f} megapixels"


def photos_in_both(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Return the ids that the photographs whose very files are in both manifests have in ``second``."""
    return sorted(set(second.loc[second["sha256"].isin(first["sha256"]), "id"]))
