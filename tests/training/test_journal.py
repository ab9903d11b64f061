"""A stage's log as a file."""

from __future__ import annotations

from pathlib import Path

from bspa.training.journal import COLUMNS, write_journal


def row(step: int) -> dict[str, float]:
    values = (step, step // 50, 1 / (step + 2), 2e-4 / 3, 731.25, 0.1 * step, 28 + 1 / step, 28 + 2 / step)
    return dict(zip(COLUMNS, values, strict=True))


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    rows = [row(step) for step in (50, 100, 150)]
    without = {name: value for name, value in row(200).items() if not name.startswith("psnr")}
    write_journal([*rows, without], tmp_path / "new" / "uniform.csv")
    text = (tmp_path / "new" / "uniform.csv").read_bytes().decode()
    head, *lines, last = text.removesuffix("\n").split("\n")
    assert last.endswith(",,")
    assert head.split(",") == [*COLUMNS]
    assert [[float(value) for value in line.split(",")] for line in lines] == [[*r.values()] for r in rows]
    assert [line.split(",")[0] for line in lines] == ["50", "100", "150"]
