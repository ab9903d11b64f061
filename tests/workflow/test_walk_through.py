"""The walk-through of docs/photographs.md, run by its own commands on small photographs with every oddity."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parents[2]
SHORTER = "sed -i 's/steps: 3000/steps: 24/; s/steps: 600/steps: 24/' own.yaml"
COMMANDS_OF_THIS_CHECKOUT = """\
set -euo pipefail
bspa() { "$PYTHON" -m bspa.cli.main "$@"; }
snakemake() { "$PYTHON" -m snakemake "$@"; }
"""


def walk_through() -> str:
    """Return the page's commands as one script, with fewer steps in each project."""
    page = (ROOT / "docs/photographs.md").read_text(encoding="utf-8")
    section = page.split("<!-- walk-through -->")[1].split("<!-- /walk-through -->")[0]
    parts = [COMMANDS_OF_THIS_CHECKOUT]
    for language, text in re.findall(r"^```(bash|python)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        if language == "python":
            text = f"\"$PYTHON\" - <<'END'\n{text}END\n"
        parts.append(re.sub(r"^cd .*$", rf"\g<0>\n{SHORTER}", text, flags=re.MULTILINE))
    return "".join(parts)


def photographs(folder: Path) -> None:
    """Write twelve photographs, each odd in its own way, and files that are none."""
    picture = Image.fromarray(data.astronaut()).reduce(4)
    tiles = [picture.crop((x, y, x + 64, y + 60)) for y in (0, 34, 68) for x in (0, 20, 40, 64)]
    (folder / "2025/summer").mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    tiles[0].save(folder / "turned.jpg", exif=turned)
    tiles[1].convert("L").save(folder / "gray.png")
    sixteen = np.asarray(tiles[2].convert("L")).astype(np.uint16) * 257
    Image.fromarray(sixteen).save(folder / "sixteen bit.png")
    tiles[3].convert("RGBA").save(folder / "alpha.png")
    tiles[4].save(folder / "CAMERA.JPG")
    tiles[5].save(folder / "2025/summer/nested.png")
    tiles[6].convert("P").save(folder / "2025/palette.png")
    tiles[7].save(folder / "scan.tif")
    tiles[8].save(folder / "old.bmp")
    tiles[9].save(folder / "web.webp")
    tiles[10].convert("CMYK").save(folder / "print.jpeg")
    tiles[11].save(folder / "Hafen \u00fcber Nacht #1.png")
    (folder / "._CAMERA.JPG").write_bytes(b"\0\5\26\7\0\2")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "notes.txt").write_text("not a photograph")


@pytest.mark.workflow
def test_a_stranger_can_follow_the_walk_through(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    photographs(tmp_path / "photographs")
    for name, photo in (("held_out", data.coffee()), ("small", data.chelsea())):
        (tmp_path / name).mkdir()
        for number in range(2):
            tile = photo[60 * number :][:48, :64]
            Image.fromarray(tile).save(tmp_path / name / f"{number}.png")
    (tmp_path / "small/._0.png").write_bytes(b"\0\5\26\7")

    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", walk_through()], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]

    checked = (tmp_path / "upscaler/results/data/checked.txt").read_text()
    assert "photographs: 12 photographs" in checked
    enlarged = [Image.open(file) for file in sorted((tmp_path / "upscaler/enlarged").rglob("*.*"))]
    assert [picture.size for picture in enlarged] == [(256, 192)] * 2
    assert "<html" in (tmp_path / "upscaler/comparison.html").read_text(encoding="utf-8")
    with Image.open(tmp_path / "second/enlarged.png") as picture:
        assert picture.size == (256, 192)
