"""BSPA: Bi-Sampling Parameter Attribution for image super-resolution, from photographs to the paper's tables.

Path grammar, in data order (<results> is `results` of the config, the folder of everything made):

    data/archives/{archive}/                                    unpacked downloads
    data/{source}/manifest.csv                                  photographs: id, size, digest
    data/checked.txt                                            the sources are fit for their use together
    data/{source}/x{scale}.h5                                   packed HR and LR images
    sub_images/{source}/x{scale}.h5                             windows
    reference/x{scale}.safetensors                              the network that scores difficulty
    difficulty/{source}/x{scale}/scores.h5                      MSE of each sub-image
    difficulty/{source}/x{scale}/{split}/thresholds.csv         k, N_k, t_k, P_k
    shards/{source}/x{scale}/{split}/class*.h5                  sub-images by class
    informative/{source}/x{scale}/maps.h5, {selection}.h5       SamplingAug's error maps and chosen patches
    start/{model}_x{scale}.safetensors                          given weights that runs start from
    training/{run}/cycle{cycle}/{phase}.safetensors             snapshots; {run} = {model}_x{scale}_{method}_seed{seed},
                                                                {phase} = uniform, inverse, informative, uncertainty, weighted
    training/{run}/cycle{cycle}/mask.safetensors                importance and frozen weights
    models/{run}.safetensors                                    delivered weights
    evaluation/{run}/{benchmark}.csv                            PSNR and SSIM of each image
    perceptual/{run}/{benchmark}.csv                            NIQE and LPIPS of each image
    sub_image_scores/{run}/{source}.h5                          MSE of each sub-image under a trained network
    tables/, figures/                                           the paper's, and your own
    provenance.json                                             what the files that are there came from
"""

import json
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import min_version, update_config

from bspa.cli.init import workflow_folder
from bspa.config.contents import Contents
from bspa.config.load import load_config, typed
from bspa.config.plan import Plan
from bspa.config.provenance import origin, provenance
from bspa.config.runs import Run
from bspa.metrics.catalogue import lpips_available
from bspa.system.files import write_text
from bspa.system.locks import hold
from bspa.system.parent import pass_signals_on

min_version("9.27")

# The defaults are read here and not by `configfile:`, so that a workflow that imports this one as a module
# need not repeat them. Snakemake leaves numbers inside lists and sections of --config as text.
# A Snakefile fetched by github() has no folder here: then all else is the installed package's own, which the rules
# import anyway.
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
if not HERE.is_dir():
    HERE = workflow_folder()
DEFAULTS = HERE / "config.yaml"
if set("{}") & set(str(HERE)):
    raise WorkflowError(f"{HERE}: Snakemake takes braces in a path for wildcards; rename the folder")
given = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
update_config(given, config)
update_config(given, typed(workflow.config_settings.config))

try:
    settings = load_config(given, [str(DEFAULTS), *map(str, workflow.configfiles)])
except ValueError as error:
    raise WorkflowError(str(error)) from None


pathvars:
    results=settings.results,


plan = Plan(
    settings,
    scripts=HERE / "workflow_scripts",
    contents=Contents(Path(settings.results, ".contents.json")),
)


report: f"{HERE}/report/workflow.rst"


include: f"{HERE}/rules/common.smk"
include: f"{HERE}/rules/resources.smk"


# On a cluster these run where Snakemake does: compute nodes seldom reach the internet, and the rest takes seconds.
localrules:
    all,
    plan,
    fetch_archive,
    fetch_niqe_model,
    import_reference,
    import_start,
    table_classes,
    table,
    figure_1,
    figure_3,
    figure_5,
    figure_7,
    figure_training,
    figure_attribution,


# Snakemake's own lock outlives a run that was killed; this one is the system's and does not (profiles/: nolock).
onstart:
    pass_signals_on()
    if set(workflow.dag_settings.targets or ()) != {"plan"}:
        try:
            hold(Path(settings.results, ".lock"), "running this workflow here")
        except (ValueError, OSError) as error:
            raise WorkflowError(str(error)) from None
        for run in plan.runs():
            if plan.warning(run):
                logger.warning(f"{run.name}: {plan.warning(run)}")


onsuccess:
    if set(workflow.dag_settings.targets or ()) != {"plan"}:
        try:
            record = json.dumps(provenance(plan), indent=1)
            write_text(Path(settings.results, "provenance.json"), f"{record}\n")
        except (ValueError, OSError) as error:
            logger.warning(f"provenance.json is not written: {error}")
    for name in plan.tables:
        table = f"{settings.results}/tables/{name}"
        if f"{table}.csv" in (workflow.dag_settings.targets or ()):
            print(f"\n{Path(f'{table}.md').read_text(encoding='utf-8')}\n{table}.csv, .md, .tex, .html")


onerror:
    print("Run the same command again: what is finished is kept, and training continues where it was.")


rule all:
    input:
        lambda w: [f"<results>/{path}" for path in planned(plan.files) if wanted(path)],


include: f"{HERE}/rules/data.smk"
include: f"{HERE}/rules/difficulty.smk"
include: f"{HERE}/rules/informative.smk"
include: f"{HERE}/rules/training.smk"
include: f"{HERE}/rules/evaluation.smk"
include: f"{HERE}/rules/tables.smk"
include: f"{HERE}/rules/figures.smk"
include: f"{HERE}/rules/plan.smk"
