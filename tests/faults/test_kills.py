"""Jobs of every rule are killed, in every way: the same command ends in what an undisturbed run makes."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bspa.config.plan import Plan
from tests.golden.products import digest_products
from tests.support.workflow import GOLDEN, Project

pytestmark = pytest.mark.workflow

WAYS = (
    "script", "snakemake", "script and snakemake", "group", "terminate the group", "interrupt the group",
    "terminate snakemake", "interrupt snakemake",
)  # fmt: skip
MOMENTS = ("begun", "later", "made")
PATIENCE = 300.0  # of a loaded machine


def seeds(count: int, quick: int) -> list[object]:
    """Return the numbers of cases; all but some are for the whole."""
    return [pytest.param(seed, marks=[] if seed < quick else pytest.mark.long) for seed in range(count)]


@pytest.fixture(scope="module")
def plan(golden: Project) -> Plan:
    return golden.plan(GOLDEN)


@pytest.fixture(scope="module")
def undisturbed(golden: Project) -> dict[str, str]:
    return content(golden.results)


def content(results: Path) -> dict[str, str]:
    """Digest all products: figures and reports by their bytes, all else without times."""
    bytes_of = {
        file.relative_to(results).as_posix(): file.read_bytes().hex() for file in results.glob("figures/*.p*")
    }
    return bytes_of | {name: product["sha256"] for name, product in digest_products(results).items()}


@pytest.mark.parametrize("seed", seeds(32, quick=2))
def test_a_killed_job_ends_in_the_same_product(
    project: Project, plan: Plan, undisturbed: dict[str, str], seed: int
) -> None:
    chance = random.Random(seed)
    rules = sorted({product.rule for product in plan.products().values()})
    # Training first: it has the most to lose.
    rules.sort(key=lambda rule: not rule.startswith("train"))
    rule, way, moment = rules[seed % len(rules)], WAYS[seed % len(WAYS)], chance.choice(MOMENTS)
    path = chance.choice([path for path, product in plan.products().items() if product.rule == rule])
    file, log = project.results / path, project.folder / "killed.log"
    digest = file.with_name(f".{file.name}.sha256")
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    digest.unlink()
    before = time.time()
    print(f"{rule}: {path}, {way}, {moment}")
    with project.start(f"results/{path}", log=log) as process:
        wait_until(lambda: digest.exists() if moment == "made" else bool(scripts(project)), process, log)
        if moment == "later":
            time.sleep(chance.uniform(0.0, 2.0))
        kill(project, process, way)
        process.wait(PATIENCE)
        wait_until(lambda: not scripts(project))
    done = project.run(f"results/{path}")
    assert content(project.results) == undisturbed, done.stdout[-3000:]
    assert file.stat().st_mtime > before - 1
    assert not [left for left in project.results.rglob(".*") if re.search(r"\.[0-9a-f]{8}-\d+", left.name)]


def test_a_stage_whose_end_snakemake_did_not_record_is_not_trained_again(
    project: Project, undisturbed: dict[str, str]
) -> None:
    run = "tiny_x4_bspa_seed0/cycle1"
    stage, log = f"results/training/{run}/uniform.safetensors", project.folder / "killed.log"
    (project.folder / stage).unlink()
    digest = project.results / "training" / run / ".uniform.safetensors.sha256"
    digest.unlink()
    with project.start(stage, log=log) as process:
        wait_until(lambda: bool(scripts(project)), process, log)
        send(process.pid, signal.SIGSTOP)
        wait_until(digest.exists)
        wait_until(lambda: not scripts(project))
        send(process.pid, signal.SIGKILL)
    project.run(stage)
    words = (project.results / "logs/training/tiny_x4_bspa_seed0/cycle1_uniform.log").read_text()
    assert "continuing at step 5 of 5" in words
    assert content(project.results) == undisturbed


def kill(project: Project, process: subprocess.Popen[bytes], way: str) -> None:
    if "script" in way:
        for pid in scripts(project):
            send(pid, signal.SIGKILL)
    if way.endswith("snakemake"):
        numbers = {"terminate snakemake": signal.SIGTERM, "interrupt snakemake": signal.SIGINT}
        send(process.pid, numbers.get(way, signal.SIGKILL))
    if "group" in way:
        numbers = {"terminate the group": signal.SIGTERM, "interrupt the group": signal.SIGINT}
        send(-process.pid, numbers.get(way, signal.SIGKILL))


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number) if pid > 0 else os.killpg(-pid, number)


def scripts(project: Project) -> list[int]:
    """Return the processes that run a script of the project."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{project.folder}/.snakemake/scripts/".encode() in b"".join(words[1:2]):
            found.append(int(command.parent.name))
    return found


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        if process and process.poll() is not None:
            return  # it was faster
        assert time.monotonic() < limit, log.read_text()[-3000:] if log else "processes are left"
        time.sleep(0.02)
