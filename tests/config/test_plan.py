"""The plan: runs and stages, and the keys of everything that is made."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

import bspa.config.code as code
from bspa.config.contents import Contents
from bspa.config.load import load_config
from bspa.config.plan import Plan
from bspa.config.products import Product
from bspa.config.runs import Run
from bspa.data.sources import list_files

Change = dict[str, Any]
PlanOf = Callable[[Change], Plan]


@pytest.fixture(scope="module")
def golden_values(root: Path, defaults: dict[str, Any]) -> dict[str, Any]:
    """The golden config, to read; one of its networks is validated."""
    values = copy.deepcopy(defaults)
    update_config(values, yaml.safe_load((root / "tests/configs/golden.yaml").read_text()))
    values["models"]["tiny_edsr"]["training"]["validation"] = {"source": "builtin_validation"}
    return values


def plan_in(checkout: Path, values: dict[str, Any], memory: Path) -> Plan:
    return Plan(load_config(values), scripts=checkout / "workflow_scripts", contents=Contents(memory))


@pytest.fixture
def plan_of(root: Path, golden_values: dict[str, Any], tmp_path: Path) -> PlanOf:
    """Plan the golden config with a change laid over it."""

    def make(change: Change) -> Plan:
        values = copy.deepcopy(golden_values)
        update_config(values, change)
        return plan_in(root, values, tmp_path / "contents.json")

    return make


def changed_paths(before: Plan, after: Plan) -> set[str]:
    """Return what would be made again of what was there before."""
    old, new = before.products(), after.products()
    return {path for path, product in new.items() if path in old and old[path].key != product.key}


def behind(plan: Plan, starts: set[str]) -> set[str]:
    """Return ``starts`` and everything that is made of them."""
    found = set(starts)
    for path, product in plan.products().items():
        if any(need.path in found for need in product.reads):
            found.add(path)
    return found


def test_another_scale_with_a_larger_grid_makes_nothing_again_but_the_check(plan_of: PlanOf) -> None:
    grids = {"x2": {"size": 1000, "step": 1000}}
    before, after = (plan_of({"scales": scales, "sub_images": grids}) for scales in ([3, 4], [2, 3, 4]))
    checked = behind(before, {"data/checked.txt"})
    assert changed_paths(before, after) == checked | {"tables/classes.csv"}  # which shows all scales
    assert "tables/table4.csv" in checked


def test_runs_are_those_of_tables_and_figures_each_once(root: Path, values: dict[str, Any]) -> None:
    values |= {"scales": [2, 4], "seeds": [3, 5]}
    values["tables"] = {
        "figure5": {"models": ["fsrcnn"], "methods": ["baseline", "bspa"], "scales": [2]},
        "none": {"models": ["edsr_mini"], "methods": ["baseline"], "scales": [3]},
    }
    values["figures"] = {"figure5": {"model": "fsrcnn", "methods": ["baseline", "bspa"]}}
    plan = plan_in(root, values, Path("missing.json"))
    assert plan.tables == ["figure5"]  # also a figure's name
    assert plan.runs() == [
        Run("fsrcnn", 2, "baseline", 3),
        Run("fsrcnn", 2, "baseline", 5),
        Run("fsrcnn", 2, "bspa", 3),
        Run("fsrcnn", 2, "bspa", 5),
        Run("fsrcnn", 4, "baseline", 3),  # a figure's: the largest scale, the first seed
        Run("fsrcnn", 4, "bspa", 3),
    ]


def test_a_stage_that_a_run_has_not_is_refused(plan_of: PlanOf) -> None:
    run = Run("fsrcnn", 4, "baseline", 0)
    with pytest.raises(ValueError, match="baseline_seed0 has no mask in cycle 1; it has cycle 1 uniform"):
        plan_of({}).attribute_parameters(run, 1)


def test_every_product_stands_after_what_it_needs(plan_of: PlanOf) -> None:
    seen: set[str] = set()
    for path, product in plan_of({}).products().items():
        assert path == product.path
        assert {need.path for need in product.reads} <= seen
        seen.add(path)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"methods": {"bspa": {"attribution": {"beta": 0.3}}}}, "attribute_parameters"),
        ({"class_splits": {"default": {"classes": 5}}}, "compute_thresholds"),
        ({"sub_images": {"x4": {"step": 16}}}, "crop_sub_images"),
        ({"data": {"border": "symmetric"}}, "pack_images"),
        ({"training": {"learning_rate": 0.003}}, "train_"),
        ({"models": {"tiny_edsr": {"training": {"validation": {"every": 2}}}}}, "train_"),
        ({"models": {"tiny_edsr": {"training": {"select": "best"}}}}, "deliver_weights"),
        ({"tables": {"edsr": {"weights": "best"}}}, "table"),
        ({"training": {"steps": 60}}, "train_"),
        ({"training": {"loss": "charbonnier"}}, "train_"),
        ({"training": {"optimiser": "adamw"}}, "train_"),
        ({"training": {"schedule": {"kind": "cosine"}}}, "train_"),
        ({"training": {"schedule": {"warm_up": 1}}}, "train_"),
        ({"models": {"tiny_edsr": {"training": {"steps": 60}}}}, "train_"),
        ({"reference": {"seed": 3}}, "train_reference"),
        ({"reference": {"precision": "bfloat16"}}, "score_difficulty"),
        ({"reference": {"border": "scale"}}, "score_difficulty"),
        ({"shards": "pixels"}, "write_class_shards"),
        ({"models": {"tiny": {"devices": 2}}}, "train_"),  # sums are rounded otherwise
        ({"models": {"tiny_reference": {"devices": 2}}}, "train_reference"),
        ({"patch_selections": {"default": {"share": 0.3}}}, "select_patches"),
        ({"compute": {"tile": 64}}, ("evaluate", "figure_")),
        ({"tables": {"table4": {"caption": "Another"}}}, "table"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value)[:40],
)
def test_a_setting_changes_what_it_decides_and_everything_behind_it(
    plan_of: PlanOf, change: Change, first: str | tuple[str, ...]
) -> None:
    before, after = plan_of({}), plan_of(change)
    changed = changed_paths(before, after)
    products = after.products()
    roots = {p for p in changed if not any(need.path in changed for need in products[p].reads)}
    # check_data looks at grids and numbers of classes itself.
    rules = {products[path].rule for path in roots} - {"check_data"}
    assert rules
    assert all(rule.startswith(first) for rule in rules), rules
    assert changed == behind(after, roots)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"compute": {"device": "cuda", "threads": 7, "save_every_seconds": 3.0}},
        {"results": "elsewhere"},
        {"models": {"tiny": {"devices": 1}}},
        {"models": {"tiny_edsr": {"training": {"validation": {"previews": 3}}}}},
    ],
)
def test_where_it_computes_does_not_matter(plan_of: PlanOf, change: Change) -> None:
    assert changed_paths(plan_of({}), plan_of(change)) == set()


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({"schedule": {"kind": "cosine"}}, {"halve_every": 7, "schedule": {"gamma": 0.3}}),
        ({"schedule": {"kind": "multistep", "milestones": [1]}}, {"halve_every": 7}),
        ({}, {"schedule": {"gamma": 0.3, "final": 1.0e-6}}),
        ({"optimiser": "adamw"}, {"weight_decay": 0.01}),  # the default
    ],
    ids=str,
)
def test_what_a_stage_does_not_use_changes_nothing(plan_of: PlanOf, given: Change, unused: Change) -> None:
    both = copy.deepcopy(given)
    update_config(both, unused)
    assert changed_paths(plan_of({"training": given}), plan_of({"training": both})) == set()


def test_a_recipes_own_loss_goes_before_that_of_the_training(plan_of: PlanOf) -> None:
    plan = plan_of({"training": {"loss": "charbonnier"}, "methods": {"bspa": {"loss": "mse"}}})

    def objectives(method: str) -> set[str]:
        return {made.settings["objective"] for made in plan.chain(Run("tiny", 4, method, 0)).values()}

    assert objectives("baseline") == objectives("sampling_aug") == {"charbonnier"}
    assert objectives("bspa") == {"mse"}  # attributions, too
    assert objectives("udn") == {"uncertainty", "weighted"}
    assert plan.train_reference(4).settings["objective"] == "charbonnier"
    phases = {run["method"]: set(run["phases"]) for run in plan.figure_training().settings["runs"]}
    assert phases["baseline"] == {"uniform charbonnier"}
    assert phases["BSPA"] == {"uniform mse", "inverse mse"}


def test_a_budget_in_steps_takes_the_place_of_repeat(plan_of: PlanOf) -> None:
    given = {"training": {"steps": 60}}
    assert changed_paths(plan_of(given), plan_of({"training": {"steps": 60, "repeat": 3}})) == set()


def test_a_new_benchmark_leaves_what_is_trained_alone(plan_of: PlanOf) -> None:
    more = {"sources": {"more": {"kind": "builtin", "photos": ["camera"]}}}
    names = plan_of({}).config.data.benchmarks
    after = plan_of({**more, "data": {"benchmarks": [*names, "more"]}})
    changed = changed_paths(plan_of({}), after)
    assert changed
    assert {after.products()[path].rule for path in changed} <= {"table", "check_data", "figure_6"}


STEPS = [{"blur": {"sigma": [0.2, 2.0]}}, {"jpeg": {"quality": [30, 95]}}]


def degraded_sources(plan: Plan) -> set[str]:
    packed = {path: product for path, product in plan.products().items() if product.rule == "pack_images"}
    return {Path(path).parent.name for path, product in packed.items() if product.settings["degraded"]}


def test_degradation_reaches_training_and_validation_but_not_benchmarks(plan_of: PlanOf) -> None:
    plan = plan_of({})
    data = plan.config.data
    assert degraded_sources(plan) == set()
    learned = {data.train, *plan.validation_sources} - set(data.benchmarks)
    assert plan.validation_sources
    assert degraded_sources(plan_of({"data": {"degradation": STEPS}})) == learned
    everywhere = plan_of({"data": {"degradation": STEPS, "degrade_benchmarks": True}})
    assert degraded_sources(everywhere) == learned | set(data.benchmarks)
    [table] = [p for p in everywhere.products().values() if p.path == "tables/table4.csv"]
    assert (
        "the benchmarks' too: blur of sigma 0.2 to 2, jpeg of quality 30 to 95"
        in table.settings["degradation"]
    )
    assert "degradation" not in plan.table("table4").settings
    # The seed counts only where something is drawn from it.
    assert changed_paths(plan, plan_of({"data": {"degradation_seed": 5}})) == set()
    changed = changed_paths(
        plan_of({"data": {"degradation": STEPS}}),
        plan_of({"data": {"degradation": STEPS, "degradation_seed": 5}}),
    )
    repacked = [path for path in changed if path.startswith("data/")]
    assert {Path(path).parent.name for path in repacked} == learned


# ---- the user's own files ------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for file in list_files("builtin", photos=["chelsea", "coffee", "rocket"]):
        shutil.copy(file.path, folder)
    return folder


def own(folder: Path) -> Change:
    return {"sources": {"mine": {"kind": "folder", "path": str(folder)}}, "data": {"train": "mine"}}


def test_photographs_count_by_content(plan_of: PlanOf, photographs: Path) -> None:
    def key() -> str:
        return plan_of(own(photographs)).make_manifest("mine").key

    before = key()
    photo = photographs / "chelsea.png"
    photo.touch()
    (photographs / "notes.txt").write_text("not a photograph")
    assert key() == before
    moved = photographs.rename(photographs.with_name("elsewhere"))
    assert plan_of(own(moved)).make_manifest("mine").key == before
    moved.rename(photographs)
    photo.write_bytes((photographs / "coffee.png").read_bytes())
    changed = key()
    photo.unlink()
    assert len({before, changed, key()}) == 3


def test_given_weights_change_every_run_of_their_network_by_content(plan_of: PlanOf, tmp_path: Path) -> None:
    file = tmp_path / "start.pt"
    change = {"models": {"tiny_edsr": {"start": {"x4": {"file": str(file)}}}}}
    file.write_bytes(b"these")
    before, first = plan_of({}), plan_of(change)
    changed = changed_paths(before, first)
    runs = {run for run in before.runs() if run.model == "tiny_edsr"}
    assert changed == behind(before, {before.stages(run)[0].path for run in runs})
    assert first.import_start("tiny_edsr", 4).path in first.products()
    moved = file.rename(tmp_path / "moved.pt")
    change["models"]["tiny_edsr"]["start"]["x4"]["file"] = str(moved)
    assert changed_paths(first, plan_of(change)) == set()
    moved.write_bytes(b"those")
    other = changed_paths(first, plan_of(change))
    assert other == changed | {first.import_start("tiny_edsr", 4).path}


def test_a_trained_reference_starts_from_its_networks_weights_too(plan_of: PlanOf, tmp_path: Path) -> None:
    file = tmp_path / "start.pt"
    file.write_bytes(b"these")
    plan = plan_of({"models": {"tiny_reference": {"start": {"x4": {"file": str(file)}}}}})
    assert [plan.train_reference(scale).needs.keys() for scale in (2, 4)] == [
        {"packed"}, {"packed", "start"},
    ]  # fmt: skip


def test_only_networks_of_spandrel_are_checked_and_count_its_version(
    plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = {"arch": "spandrel", "options": {"name": "SPAN", "feature_channels": 8}}
    change: Change = {
        "models": {"foreign": foreign},
        "tables": {"foreign": {"models": ["foreign", "tiny_edsr"], "methods": ["baseline"]}},
    }

    def plan(version: str) -> Plan:
        monkeypatch.setattr("bspa.config.products.spandrel_version", lambda: version)
        return plan_of(change)

    before = plan("1.0")
    checks = {path for path, product in before.products().items() if product.rule == "check_network"}
    assert checks == {f"networks/foreign_x{scale}.json" for scale in (2, 3, 4)}
    assert not changed_paths(plan_of({}), before)
    changed = changed_paths(before, plan("1.1"))
    assert changed == behind(before, checks)
    assert "models/foreign_x4_baseline_seed0.safetensors" in changed
    assert not any("tiny_edsr" in path for path in changed)


def test_udn_needs_features_that_spandrels_networks_do_not_give(plan_of: PlanOf) -> None:
    foreign = {"arch": "spandrel", "options": {"name": "SPAN"}}
    with pytest.raises(ValueError, match=r"methods\.udn\.loss.*foreign"):
        plan_of(
            {
                "models": {"foreign": foreign},
                "tables": {"foreign": {"models": ["foreign"], "methods": ["udn"]}},
            }
        ).products()


def test_a_missing_folder_is_told_when_planning(plan_of: PlanOf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sources\.mine: .*missing"):
        plan_of(own(tmp_path / "missing")).make_manifest("mine")


# ---- code ----------------------------------------------------------------------------------------------

Predicate = Callable[[Product], bool]


def nothing(product: Product) -> bool:
    return False


def made_by(*rules: str) -> Predicate:
    return lambda product: product.rule in rules


def runs_network(arch: str) -> Predicate:
    """What trains, delivers or runs a network of an architecture."""
    return lambda product: (
        product.settings.get("arch") == arch or ("evaluate" in product.rule and f"_{arch}_" in product.path)
    )


def minimises_l1(product: Product) -> bool:
    return product.settings.get("objective") == "l1"


def validates(product: Product) -> bool:
    return "validation" in product.needs


def measures_psnr(product: Product) -> bool:
    rules = ("evaluate", "evaluate_bicubic", "figure_4", "figure_6")
    return validates(product) or product.rule in rules


def samples_uniformly(product: Product) -> bool:
    return product.settings.get("sampling") == "uniform" or product.rule == "attribute_parameters"


EDITS: list[tuple[str, str, str, str, Predicate]] = [
    ("a log line", "training/loop.py", "stopped at step %d", "interrupted at step %d", nothing),
    ("a new network", "models/registry.py", '"edsr": EDSR,', '"edsr": EDSR,\n    "new": EDSR,', nothing),
    ("an error about weights", "models/weights.py", "cannot be loaded into", "do not fit", nothing),
    ("NIQE's message", "metrics/niqe.py", "must be finite floats", "must be floats", nothing),
    ("a lock's text", "system/locks.py", "is working on this", "has this", nothing),
    ("a docstring", "training/losses.py", '"""', '"""Changed. ', nothing),
    (
        "SamplingAug's sampler", "sampling/informative.py", "self.images(iteration, numbers[:, 0])",
        "pick(1 - numbers[:, 0], len(self.pool))", made_by("train_informative"),
    ),
    (
        "SamplingAug's choice", "sampling/patch_selection.py", "\n\n\ndef ", "\nX = 1\n\n\ndef ",
        made_by("select_patches"),
    ),
    ("RCAN", "models/rcan.py", "return x * self.conv_du", "return x + self.conv_du", runs_network("rcan")),
    ("the previews", "training/previews.py", "SIDE = 128", "SIDE = 64", nothing),
    ("a loss that is not used", "training/charbonnier.py", "EPSILON = 1e-3", "EPSILON = 1e-4", nothing),
    ("the L1 loss", "training/losses.py", "l1_loss(", "mse_loss(", minimises_l1),
    (
        "the uniform sampler", "sampling/uniform.py", "self.images(iteration, numbers[:, 0])",
        "pick(1 - numbers[:, 0], len(self.pool))", samples_uniformly,
    ),
    (
        "a writer's block size", "difficulty/shard_writing.py", "BLOCK_BYTES = 8 << 20",
        "BLOCK_BYTES = 4 << 20", made_by("write_class_shards"),
    ),
    (
        "a criterion", "training/importance.py", "value.square()", "value.abs()",
        made_by("attribute_parameters"),
    ),
    ("the best weights", "training/validation.py", "score > best.psnr", "score >= best.psnr", validates),
    ("PSNR", "metrics/psnr.py", "PEAK = 255.0", "PEAK = 256.0", measures_psnr),
    (
        "SSIM", "metrics/ssim.py", "PEAK = 255.0", "PEAK = 256.0",
        made_by("evaluate", "evaluate_bicubic", "figure_6"),
    ),
    ("a table's markup", "tables/markup.py", "\n\n\ndef ", "\nX = 1\n\n\ndef ", made_by("table")),
]  # fmt: skip


@pytest.fixture(scope="module")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the code to edit."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("bspa", "workflow_scripts"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "PACKAGE", folder / "bspa")
        yield folder


@pytest.fixture(scope="module")
def unedited(checkout: Path, golden_values: dict[str, Any]) -> Plan:
    plan = plan_in(checkout, golden_values, checkout / "contents.json")
    plan.products()
    return plan


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"), [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS]
)
def test_an_edit_reruns_exactly_the_rules_whose_results_may_change(
    checkout: Path, golden_values: Change, unedited: Plan, file: str, old: str, new: str, changes: Predicate
) -> None:
    path = checkout / "bspa" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    edited = plan_in(checkout, golden_values, checkout / "contents.json")
    changed = changed_paths(unedited, edited)
    path.write_text(text)
    expected = {path for path, product in unedited.products().items() if changes(product)}
    assert bool(expected) is (changes is not nothing)
    assert changed == behind(unedited, expected)
