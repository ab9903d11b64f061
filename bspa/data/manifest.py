"""The manifest of a source: its photographs, their sizes, and the digests of their files.

A CSV file, sorted by id and scale, with a row for each photograph; for given HR/LR pairs, a row for each
image and scale, since the HR file may differ between scales too.

| column | holds |
|---|---|
| id | name, unique within the source (and scale) |
| path, sha256 | the photograph's file; with pairs, the HR file |
| width, height | in pixels, upright |
| scale, lr_path, lr_sha256 | with pairs, the LR file and its scale; empty otherwise |
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bspa.data.sources import PhotoFile
from bspa.system.files import atomic_path
from bspa.system.reading import reading

COLUMNS = ("id", "path", "width", "height", "sha256", "scale", "lr_path", "lr_sha256")


def write_manifest(manifest: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a manifest as CSV."""
    with atomic_path(path) as temporary:
        manifest.to_csv(temporary, index=False, columns=list(COLUMNS))


def read_manifest(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a manifest; ids such as ``001`` and ``NA`` stay text, a missing scale is `pandas.NA`."""
    with reading(path, "a manifest"):
        types = dict.fromkeys(COLUMNS, "str") | {"width": "int", "height": "int", "scale": "Int64"}
        manifest = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={"scale": [""]})
        if tuple(manifest.columns) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(manifest.columns)}; expected {', '.join(COLUMNS)}")
        return manifest


def locate(manifest: pd.DataFrame, files: Sequence[PhotoFile]) -> pd.DataFrame:
    """Return the manifest with the paths where its photographs lie now.

    Args:
        manifest: of the photographs, wherever they lay then.
        files: the same photographs, from `bspa.data.sources.list_files`.

    Raises:
        ValueError: a photograph is no longer there, or there are more.
    """
    now = {(file.id, file.scale): (str(file.path), str(file.lr_path or "")) for file in files}
    then = [
        (name, None if pd.isna(scale) else int(scale)) for name, scale in manifest[["id", "scale"]].to_numpy()
    ]
    if now.keys() != set(then):
        different = ", ".join(sorted({name for name, _ in now.keys() ^ set(then)})[:4])
        raise ValueError(
            f"the photographs have changed since the manifest was made ({different}); delete the source's "
            "manifest.csv and run again"
        )
    paths = pd.DataFrame([now[place] for place in then], columns=["path", "lr_path"], index=manifest.index)
    return manifest.assign(path=paths["path"], lr_path=paths["lr_path"])


def rows_for_scale(manifest: pd.DataFrame, scale: int) -> pd.DataFrame:
    """Return the pairs for ``scale``, or every photograph of a source without pairs."""
    if manifest["scale"].isna().all():
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


def smaller(manifest: pd.DataFrame, side: int) -> list[str]:
    """Name the photographs with a side of less than ``side`` pixels, and their sizes."""
    small = manifest[manifest[["width", "height"]].min(axis="columns") < side]
    return [f"{row.path}: {row.width}x{row.height} pixels" for row in small.itertuples()]


def describe(manifest: pd.DataFrame) -> str:
    """Return the number of photographs and megapixels as text; a photograph of several pairs counts once."""
    once = manifest.drop_duplicates("id")
    megapixels = float((once["width"] * once["height"]).sum()) / 1e6
    return f"{len(once)} photographs, {megapixels:.1f} megapixels"


def photos_in_both(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Return the ids, in ``second``, of the photographs whose files (by SHA-256) are in both manifests."""
    return sorted(set(second.loc[second["sha256"].isin(first["sha256"]), "id"]))
