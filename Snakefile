"""BSPA: Bi-Sampling Parameter Attribution for image super-resolution, from photographs to the paper's tables.

Path grammar, in data order (results/ is the root of everything made):

    data/archives/{archive}/                                    unpacked downloads
    data/{source}/manifest.csv                                  photographs: id, size, digest
    data/checked.txt                                            every source is fit for its use
    data/{source}/x{scale}.h5                                   packed HR and LR images
    sub_images/{source}/x{scale}.h5                             windows
    reference/x{scale}.safetensors                              the network that scores difficulty
    difficulty/{source}/x{scale}/scores.h5                      MSE of each sub-image
    difficulty/{source}/x{scale}/{split}/thresholds.csv         k, N_k, t_k, P_k
    shards/{source}/x{scale}/{split}/class*.h5                  sub-images by class
    informative/{source}/x{scale}/maps.h5, {selection}.h5       SamplingAug's error maps and chosen patches
    training/{run}/cycle{cycle}/{stage}.safetensors             snapshots; {run} = {model}_x{scale}_{method}_seed{seed},
                                                                {stage} = uniform, inverse, informative, uncertainty, weighted
    training/{run}/cycle{cycle}/mask.safetensors                importance and frozen weights
    models/{run}.safetensors                                    delivered weights
    evaluation/{run}/{benchmark}.csv                            scores of each image
    perceptual/{run}/{benchmark}.csv                            NIQE and LPIPS of each image
    sub_image_scores/{run}/{source}.h5                          MSE of each sub-image under a trained network
    tables/, figures/                                           the paper's, and your own
"""

import os

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version, update_config

from bspa.config import code_digest, hold, load_config, lpips_available, plan_cycles, typed

min_version("9.27")


configfile: os.path.join(workflow.basedir, "config.yaml")


# Snakemake leaves numbers inside lists and sections of --config as text.
update_config(config, typed(workflow.config_settings.config))

try:
    settings = load_config(config, workflow.configfiles)
except ValueError as error:
    raise WorkflowError(str(error)) from None


report: "report/workflow.rst"


include: "rules/common.smk"


localrules:
    all,
    plan,


# Snakemake's own lock outlives a run that was killed; this one is the system's and does not (profiles/: nolock).
onstart:
    try:
        hold(".snakemake/bspa.lock", "running this workflow here")
    except ValueError as error:
        raise WorkflowError(str(error)) from None


rule all:
    input:
        tables(),
        figures(),
        models(),
        snapshots(),


include: "rules/data.smk"
include: "rules/difficulty.smk"
include: "rules/informative.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/plan.smk"
