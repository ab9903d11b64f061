"""A change of the config whose first job is killed is not forgotten, whatever rule the job is of."""

from __future__ import annotations

import random
import shutil
from typing import Any

import pytest

from tests.support.workflow import GOLDEN, Project

pytestmark = [pytest.mark.workflow, pytest.mark.long]

BSPA = {"methods": {"bspa": {"attribution": {"beta": 0.3}}}}
CHANGES: tuple[dict[str, Any], ...] = (
    BSPA,
    {"class_splits": {"default": {"classes": 5}}},
    {"sub_images": {"x4": {"step": 32}}},
    {"data": {"border": "symmetric"}},
    {"training": {"learning_rate": 0.003}},
    {"sources": {"tiny_train": {"photos": ["chelsea", "coins"]}}},
    {"sources": {"tiny_test": {"photos": ["coins"]}}},
    {"patch_selections": {"default": {"share": 0.3}}},
    {"reference": {"batch": 32}},
    {"shards": "pixels"},
    {"models": {"tiny": {"options": {"d": 12, "s": 4, "m": 1}}}},
    {"models": {"tiny_reference": {"training": {"epochs": 3}}}},
    {"tables": {"table4": {"caption": "Another"}}},
    {"figures": {"figure6": {"size": 40}}},
    {"methods": {"alternating": {"uniform_epochs": 1}}},
)


@pytest.mark.parametrize("seed", range(30))
def test_a_change_whose_first_job_is_killed_is_not_forgotten(project: Project, seed: int) -> None:
    """Snakemake deletes the outputs of a job before it runs: that is what a job that is killed leaves."""
    chance = random.Random(seed)
    change = CHANGES[seed % len(CHANGES)]
    overlay = project.overlay("changed", change)
    before, after = (project.plan(*configs).products() for configs in ((GOLDEN,), (GOLDEN, overlay)))
    changed = [path for path, product in after.items() if path in before and before[path].key != product.key]
    rules = sorted({after[path].rule for path in changed})
    rule = chance.choice(rules)
    whole = project.jobs(configs=(overlay,))
    killed = [path for path in changed if after[path].rule == rule]
    for path in chance.sample(killed, chance.randint(1, len(killed))):
        file = project.results / path
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert project.jobs(configs=(overlay,)) == whole, rule
    assert whole[rule] > 0
