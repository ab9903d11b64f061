"""Products that are not as their job left them are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bspa.system.digests import check_digests, remove_digests, write_digests
from tests.support.damage import DAMAGE


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["x4.h5", "folder"])
def test_damage_is_named(tmp_path: Path, name: str, damage: str) -> None:
    product = file = tmp_path / name
    if name == "folder":
        file = product / "inner" / "class01.h5"
        file.parent.mkdir(parents=True)
    file.write_bytes(bytes(range(256)))
    write_digests([str(product)])
    check_digests([str(product)])
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    with pytest.raises(ValueError, match=rf"{name}: it is not as .* Delete it"):
        check_digests([str(product)])


def test_a_file_that_vanishes_from_a_folder_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text("same")
    write_digests([str(folder)])
    (folder / "b").unlink()
    with pytest.raises(ValueError, match="shards"):
        check_digests([str(folder)])


def test_a_product_without_a_digest_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    write_digests([str(tmp_path / "a")])
    (tmp_path / "a").write_text("b")
    remove_digests([str(tmp_path / "a")])
    check_digests([str(tmp_path / "a")])
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
