"""The habits of the house: names that agree, imports that go one way, documents that say what is."""

from __future__ import annotations

import ast
import copy
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from bspa.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
LIBRARY = sorted((ROOT / "bspa").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CONDA_NAMES = {"matplotlib": "matplotlib-base", "snakemake": "snakemake-minimal", "torch": "pytorch"}
HEAVY = {"torch", "numpy", "pandas", "h5py", "PIL", "scipy", "skimage", "matplotlib", "safetensors"}
CHAPTERS = ("system", "data", "models", "difficulty", "sampling", "metrics", "training")
"""In the order of the data: a chapter imports only those before it."""
LEAVES = {
    "bspa.data.sources",
    "bspa.metrics.catalogue",
    "bspa.training.stage",
    "bspa.system.digests",
    "bspa.system.files",
    "bspa.system.locks",
    "bspa.system.origin",
    "bspa.system.versions",
}
"""What the config's modules and the Snakefile import besides; these load nothing heavy."""


def rules() -> dict[str, dict[str, str]]:
    """Sections of each rule of rules/*.smk, by rule and section."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        text = re.sub(r"^use rule \w+ as (\w+) with:$", r"rule \1:", file.read_text(), flags=re.MULTILINE)
        _, *parts = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            own = re.match(r"(?: {4}.*\n|\n)*", body)
            assert own, f"rule {name} of {file} has no sections"
            _, *sections = re.split(r"^ {4}(\w+):", own[0], flags=re.MULTILINE)
            found[name] = dict(zip(sections[::2], sections[1::2], strict=True))
    return found


def imports(file: Path) -> set[str]:
    """Name the modules that ``file`` imports anywhere in it; of `from a import b` both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_every_rule_has_its_script_and_every_script_its_rule() -> None:
    named = {name: sections["script"] for name, sections in rules().items() if "script" in sections}
    scripts = {re.search(r"workflow_scripts/(\w+)\.py", script)[1] for script in named.values()}  # type: ignore[index]
    assert scripts == {script.stem for script in SCRIPTS}
    shared = {"train_uniform", "score_difficulty"}
    assert {name for name in named if f"/{name}.py" not in named[name]} == shared
    inherited = set(rules()) - set(named)
    assert inherited == {f"train_{p}" for p in ("inverse", "informative", "uncertainty", "weighted")}


def test_every_rule_says_what_it_makes_and_tells() -> None:
    for name, sections in rules().items():
        assert {"log", "params", "message"} <= set(sections), name
        assert "output" in sections or name == "plan"  # which prints


@pytest.mark.parametrize("file", [*SCRIPTS, *LIBRARY], ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    names = imports(file)
    packages = {name.split(".")[0] for name in names}
    ours = {name for name in names if name.startswith("bspa.")}
    assert not packages & {"snakemake", "workflow_scripts"}
    chapter = file.parent.name
    if chapter == "config":  # what the Snakefile imports
        assert not packages & HEAVY
        outside = {name for name in ours if not name.startswith("bspa.config")}
        assert all(
            any(name == leaf or name.startswith(f"{leaf}.") or leaf.startswith(f"{name}.") for leaf in LEAVES)
            for name in outside
        ), outside
    else:
        assert not any(name.startswith("bspa.config") for name in names)
    if chapter in CHAPTERS:
        later = (*CHAPTERS[CHAPTERS.index(chapter) + 1 :], "tables", "figures")
        assert not {name for name in ours if name.split(".")[1] in later}


def test_planning_loads_neither_torch_nor_numpy() -> None:
    modules = "sys, bspa, bspa.config.plan, bspa.system.locks"
    code = f"import {modules}; print(sorted(set({sorted(HEAVY)}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_what_a_registry_chooses_is_what_the_plan_names() -> None:
    from bspa.models.registry import ARCHITECTURES
    from bspa.training.registry import OBJECTIVES, SAMPLERS, open_validation
    from bspa.training.stage import OBJECTIVE_MODULES

    assert {name: cls.__module__ for name, cls in ARCHITECTURES.items()} == {
        name: f"bspa.models.{name}" for name in ARCHITECTURES
    }
    assert {name: function.__module__ for name, function in SAMPLERS.items()} == {
        name: f"bspa.sampling.{name}" for name in SAMPLERS
    }
    assert {name: function.__module__ for name, function in OBJECTIVES.items()} == OBJECTIVE_MODULES
    assert open_validation.__module__ == "bspa.training.validation"


def test_the_profile_of_generic_resources_names_every_job_on_a_gpu() -> None:
    """Jobs that are submitted together must ask for the same: those of a GPU's groups, too."""
    profile = yaml.safe_load((ROOT / "profiles/slurm-gres/config.v8+.yaml").read_text())
    names: dict[str, Any] = {}
    exec(profile["__definitions__"][0], names)  # the profile's own Python
    sections = rules() | {name: rules()["train_uniform"] for name in rules() if name.startswith("train_")}
    on_gpu = {
        name
        for name, own in sections.items()
        if re.search("gpu=(GPU|stage_gpus)", own.get("resources", ""))
        or "together(" in own.get("group", "")
        or "difficulty" in own.get("group", "")
    }
    # Those of lpips alone take none where it is not installed; the plan runs where Snakemake does.
    assert set(names["ON_GPU"]) == on_gpu - {"evaluate_perceptual_bicubic", "plan"}


@pytest.mark.parametrize(("visible", "jobs"), [("0", 1), ("0,1,GPU-3", 3), ("", None), ("-1", None)])
def test_the_default_profile_counts_the_gpus_that_are_visible(
    monkeypatch: pytest.MonkeyPatch, visible: str, jobs: int | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    profile = yaml.safe_load((ROOT / "profiles/default/config.v8+.yaml").read_text())
    names: dict[str, Any] = {}
    exec(profile["__definitions__"][0], names)  # the profile's own Python
    assert names["visible_gpus"]() == (jobs or 0)
    assert names["jobs_at_a_time"]() == (jobs or min(2, len(os.sched_getaffinity(0))))


def test_the_documentation_has_a_row_for_every_rule() -> None:
    row = re.compile(
        r"^\| [^|]+ \| `(\w+)` \| \[(\w+)\.py\]\(\.\./workflow_scripts/(\w+)\.py\) \| (.+) \|$", re.M
    )
    rows = row.findall((ROOT / "docs/rules.md").read_text())
    assert sorted(rule for rule, *_ in rows) == sorted(rules())
    for rule, script, target, library in rows:
        assert script == target
        for module in re.findall(r"`(bspa\.[\w.]+)`", library):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), f"{rule}: {module}"


def test_ci_runs_the_readmes_own_commands() -> None:
    main_job, tests = (
        next(block for block in blocks(ROOT / "README.md", "bash") if word in block)
        for word in ("snakemake --cores", "pytest")
    )
    for name, block in (("main-job", main_job), ("tests", tests)):
        command = [str(ROOT / ".ci" / "run"), "--show", name]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == block
    assert "results/tables/table4.csv" in main_job
    script = (ROOT / ".ci" / "run").read_text()
    assert "\ntests=$(readme_block tests)\n" in script
    assert '\nbash -euo pipefail -c "$tests"\n' in script


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == version


def test_conda_gets_the_same_packages_and_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {"python": project["requires-python"]}
    for requirement in project["dependencies"]:
        name, limits = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
        expected[CONDA_NAMES.get(name, name)] = limits
    environment = yaml.safe_load((ROOT / "envs" / "bspa.yaml").read_text())
    assert dict(line.split(" ", 1) for line in environment["dependencies"]) == expected
    assert environment["channels"] == ["conda-forge", "bioconda", "nodefaults"]


def test_the_configuration_reference_is_up_to_date() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "bspa.config.docs"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found = (ROOT / "docs" / "configuration.md").read_text()
    assert found == made.stdout, "run: python -m bspa.config.docs > docs/configuration.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{document.name} links to {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_commands_name_modules_files_and_rules_that_exist(document: Path) -> None:
    text = document.read_text()
    for module in re.findall(r"python -m (bspa[\w.]*)", text):
        assert "__main__" in (ROOT / f"{module.replace('.', '/')}.py").read_text()
    for path in re.findall(r"(?:--configfile|--workflow-profile) ((?:configs|profiles)/\S+?)[\s`]", text):
        assert (ROOT / path).exists(), path
    for rule in re.findall(r" -R (\w+)\b(?!/)", text):
        assert rule in rules()
    # --configfile takes every word that follows: a target there would be read as a config.
    assert not re.search(r"--configfile \S+ results/", text)


OVERLAYS = [
    (f"{document.name}-{number}", text)
    for document in DOCUMENTS
    for number, text in enumerate(blocks(document, "yaml"))
] + [(file.name, file.read_text()) for file in sorted((ROOT / "configs").glob("*.yaml"))]


@pytest.mark.parametrize("text", [text for _, text in OVERLAYS], ids=[name for name, _ in OVERLAYS])
def test_overlays_are_accepted(text: str) -> None:
    values: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    before = copy.deepcopy(values)
    update_config(values, yaml.safe_load(text))
    assert values != before
    load_config(values)


def test_the_readme_states_the_convention_of_the_scores() -> None:
    from bspa.metrics.catalogue import PSNR_SSIM_CONVENTION

    assert PSNR_SSIM_CONVENTION in " ".join((ROOT / "README.md").read_text().split())


def test_the_readmes_python_enlarges_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bspa.models.registry import build
    from bspa.models.weights import save_network

    (snippet,) = blocks(ROOT / "README.md", "python")
    (path,) = re.findall(r'"(results/models/(\w+)_x4_\w+\.safetensors)"', snippet)
    network = yaml.safe_load((ROOT / "config.yaml").read_text())["models"][path[1]]
    options = network["options"]
    weights = build(network["arch"], 4, **options).state_dict()
    save_network(tmp_path / path[0], weights, arch=network["arch"], scale=4, options=options, key="")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})
    assert Image.open("photo_x4.png").size == (28, 36)
