"""Whatever a file holds, its reader gives a value or one error that names the file."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bspa.config.contents import Contents
from bspa.data.inspection import make_manifest
from bspa.data.manifest import read_manifest, write_manifest
from bspa.data.packed import PackedImages
from bspa.data.photos import read_photo
from bspa.data.pictures import read_picture
from bspa.data.sources import PhotoFile
from bspa.data.unpack import unpack
from bspa.difficulty.class_table import read_classes, write_classes
from bspa.difficulty.classes import split_classes
from bspa.difficulty.score_writing import write_scores
from bspa.difficulty.scores import read_scores
from bspa.difficulty.shard_writing import write_class_shards
from bspa.difficulty.shards import open_shards
from bspa.difficulty.windows import read_windows, write_windows
from bspa.figures.attribution_maps import read_attributions
from bspa.figures.figure7 import read_validation
from bspa.figures.training_curves import read_curve
from bspa.live import read_runs
from bspa.metrics.niqe import read_pristine_model
from bspa.models.released import load_released
from bspa.models.weights import load_model, save_network, save_weights
from bspa.sampling.error_maps import write_maps
from bspa.sampling.maps import ErrorMaps
from bspa.sampling.selections import Selection, read_selection, write_selection
from bspa.system.digests import check_digests, write_digests
from bspa.system.files import read_key
from bspa.tables.description import describe
from bspa.tables.table import read_table
from bspa.training.costs import device_seconds
from bspa.training.masks import load_masks
from bspa.training.snapshot import Best, Snapshot, load_snapshot, save_snapshot
from tests.support.networks import SMALL, small
from tests.support.noise import noise, pack_noise
from tests.support.pristine import write_model
from tests.support.scores import made_up_scores
from tests.support.table_files import Results

JOURNAL = {
    "step": [4, 8], "epoch": [1, 2], "loss": [0.1, 0.09], "learning_rate": [1e-3, 1e-3],
    "samples_per_second": [9.5, 9.5], "device_seconds": [1.5, 3.0],
    "psnr": [None, 24.0], "psnr_average": None,
}  # fmt: skip
RUN = "results/training/tiny_x4_bspa_seed0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind, as this package writes them, and what users give it."""
    here = tmp_path_factory.mktemp("files")
    images = pack_noise(here, (40, 48), (36, 32), scale=4)
    photos = [PhotoFile(id=name, path=here / f"{name}.png") for name in images.ids]
    write_manifest(make_manifest(photos), here / "manifest.csv")
    write_windows(here / "windows.h5", images.hr_shapes, size=16, step=8, threshold=3, scale=4, key="k")
    scores = made_up_scores(images, size=16, step=8)
    write_scores(
        here / "scores.h5", scores.mse, scores.mse_y, scores, scale=4, precision="float32", key="k",
        reference_sha256=scores.reference_sha256,
    )  # fmt: skip
    classes = split_classes(scores.mse, 2, 3)
    write_classes(here / "thresholds.csv", classes, key="k")
    for samples in ("pixels", "windows"):
        split: Any = {"thresholds": classes.thresholds, "samples": samples}
        write_class_shards(here / samples, images, scores, classes.sizes, **split, key="k")
    write_maps(here / "maps.h5", images, patch=24, threads=1, key="k")
    chosen = Selection(np.zeros((3, 2), np.int32), np.array([0, 2, 3]), patch=16, scale=4)
    write_selection(here / "selection.h5", chosen, key="k")

    weights = small("fsrcnn").state_dict()
    save_network(
        here / "network.safetensors", weights, arch="fsrcnn", scale=4, options=SMALL["fsrcnn"], key="k"
    )
    (here / "network.json").write_text('{"device_seconds": 1.5, "key": "k"}')
    torch.save(weights, here / "released.pth")
    torch.save(weights, here / "old.pt", _use_new_zipfile_serialization=False)
    moments = {name: {"w": torch.ones(2)} for name in ("exp_avg", "exp_avg_sq")}
    best = Best(weights={"w": torch.ones(2)}, psnr=20.5, step=4)
    snapshot = Snapshot(
        weights={"w": torch.ones(2)}, moments=moments, optimiser_steps=8, adam_steps=8, best=best
    )
    save_snapshot(here / "snapshot.safetensors", snapshot, {"key": "k"})
    mask = {"mask.w": torch.tensor([True, False]), "importance.w": torch.ones(2)}
    save_weights(here / "mask.safetensors", mask, {"key": "k"})
    (here / "mask.json").write_text(json.dumps({"device_seconds": 0.5, "key": "k"}))
    for name in ("journal.csv", f"{RUN}/cycle1/uniform.csv"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(JOURNAL).to_csv(here / name, index=False)
    partial = here / RUN / "cycle1/.inverse.partial/state.safetensors"
    rows = [{"step": 4, "loss": 0.1, "psnr": None}]
    save_snapshot(partial, snapshot, {"rows": json.dumps(rows)})
    write_model(here / "niqe.npz")
    (here / "table").mkdir()
    results = Results(here / "table")
    for method in ("baseline", "bspa"):
        results.score(4, "fsrcnn", method, "Set5", [30.0, 31.0], [0.8, 0.9])
        results.run(4, "fsrcnn", method)
    (here / "table/settings.txt").write_text(json.dumps(results.settings()))

    deep = (noise(9, 12).astype(np.uint16) * 256)[..., 0]
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif"):
        Image.fromarray(noise(9, 12)).save(here / f"photo{suffix}")
    for suffix in (".png", ".tif"):
        Image.fromarray(deep).save(here / f"deep{suffix}")
    for name in ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz"):
        make_archive(here / f"set.{name}", {"HR/a.png": b"a" * 3000, "HR/b.png": b"b"})
    (here / "contents.json").write_text(json.dumps({str(here / "photo.png"): ["0 0", "0" * 64]}))
    (here / "product").write_bytes(b"made")
    write_digests([str(here / "product")])
    return here


def make_archive(path: Path, members: dict[str, bytes]) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def pixels(images: PackedImages) -> int:
    return sum(int(images.hr(i).sum()) + int(images.lr(i).sum()) for i in range(len(images)))


def touch_shards(path: Path) -> None:
    for shard in open_shards(path.parent):
        if shard.samples == "pixels":
            shard.lr.sum(), shard.hr.sum()


def read_table_of(path: Path) -> None:
    """Read the table that has ``path`` among its evaluations and summaries."""
    here = path.parent
    values = json.loads((here / "settings.txt").read_text())
    read_table([here / "0.csv", here / "1.csv"], [here / "0.json", here / "1.json"], **values)


def attributions(path: Path) -> None:
    read_attributions([path], ["w"], arch="mine")


Read = Callable[[Path], Any]
READERS: dict[str, tuple[Read, ...]] = {
    "x4.h5": (lambda path: pixels(PackedImages(path)), read_key),
    "windows.h5": (read_windows,),
    "scores.h5": (read_scores,),
    "pixels/class01.h5": (touch_shards,),
    "windows/class02.h5": (touch_shards,),
    "maps.h5": (lambda path: [m.sum() for m in ErrorMaps(path)],),
    "selection.h5": (lambda path: read_selection(path).offsets.sum(),),
    "manifest.csv": (read_manifest, read_key),
    "thresholds.csv": (read_classes, read_key),
    "journal.csv": (
        lambda path: read_curve([path], ["uniform"]),
        lambda path: read_validation([[str(path)]], model="m", method="n"),
        lambda path: device_seconds([str(path)]),
    ),
    "mask.json": (
        lambda path: device_seconds([str(path)]),
        lambda path: read_validation(
            [[str(path), str(path.with_name("journal.csv"))]], model="m", method="n"
        ),
        read_key,
    ),
    "network.safetensors": (load_model, load_released, describe, read_key),
    "network.json": (lambda path: describe(path.with_suffix(".safetensors")),),
    "released.pth": (load_released, describe),
    "old.pt": (load_released,),
    "snapshot.safetensors": (load_snapshot,),
    "mask.safetensors": (load_masks, attributions),
    f"{RUN}/cycle1/uniform.csv": (lambda path: read_runs(path.parents[3]),),
    f"{RUN}/cycle1/.inverse.partial/state.safetensors": (lambda path: read_runs(path.parents[4]),),
    "table/0.csv": (read_table_of,),
    "table/1.json": (read_table_of,),
    "niqe.npz": (read_pristine_model,),
    **{f"photo{suffix}": (read_photo, read_picture) for suffix in (".png", ".jpg", ".webp", ".bmp", ".tif")},
    **{f"deep{suffix}": (read_photo, read_picture) for suffix in (".png", ".tif")},
    **{
        f"set.{name}": (lambda path: unpack(path, path.with_name("out"), max_bytes=1 << 20),)
        for name in ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")
    },
    "contents.json": (lambda path: Contents(path).digest([path.with_name("photo.png")]),),
    ".product.sha256": (lambda path: check_digests([str(path.with_name("product"))]),),
}
"""A file -> what reads it."""


KINDS = ["cut off", "replace", "flip", "overwrite", "insert", "text"]
"""Ways of damage; of HDF5 the first two: libhdf5 loops for ever on some headers, which digests find."""


@st.composite
def damages(draw: st.DrawFn, kinds: list[str]) -> Callable[[bytes], bytes]:
    """Draw how to damage a file: what disks, editors and foes do."""

    def cut(data: bytes, start: int, stop: int, by: bytes) -> bytes:
        start, stop = sorted((start % (len(data) + 1), stop % (len(data) + 1)))
        return data[:start] + by + data[stop:]

    places = st.one_of(st.integers(0, 200), st.integers(0, 1 << 20))
    kind = draw(st.sampled_from(kinds))
    start, garbage = draw(places), draw(st.binary(max_size=64))
    if kind == "cut off":
        return lambda data: cut(data, start, len(data), b"")
    if kind == "flip":
        spots = draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4))

        def flip(data: bytes) -> bytes:
            changed = bytearray(data or b"\0")
            for place, value in spots:
                changed[place % len(changed)] = value
            return bytes(changed)

        return flip
    if kind == "overwrite":
        return lambda data: cut(data, start, start + len(garbage), garbage)
    if kind == "insert":
        return lambda data: cut(data, start, start, garbage)
    if kind == "replace":
        return lambda _: garbage
    text = draw(st.text(max_size=8))
    old = draw(st.sampled_from(["0", "1", ",", "\n", '"', "{", "k", "step", "device_seconds", "loss"]))
    return lambda data: data.replace(old.encode(), text.encode("utf-8", "replace"), 1)


def refusal(read: Read, path: Path) -> str | None:
    """Return the message of the error, of the kinds that users can mend, or None."""
    try:
        read(path)
    except (ValueError, OSError) as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
@settings(max_examples=settings().max_examples // 10)  # of the profile
@given(data=st.data())
def test_damage_gives_a_value_or_an_error_that_names_the_file(
    folder: Path, name: str, data: st.DataObject
) -> None:
    damage = data.draw(damages(KINDS[:2] if name.endswith(".h5") else KINDS))
    path = folder / name
    whole = path.read_bytes()
    damaged = damage(whole)
    path.unlink()  # what is mapped into memory stays
    path.write_bytes(damaged)
    try:
        for read in READERS[name]:
            message = refusal(read, path)
            assert message is None or path.name.strip(".").removesuffix(".sha256") in message, message
    finally:
        path.unlink()
        path.write_bytes(whole)


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(folder: Path, name: str) -> None:
    for read in READERS[name]:
        read(folder / name)
