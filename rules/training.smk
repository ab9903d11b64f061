"""Training: uniform and inverse stages and the attribution between them, chained by cycle (Section 3, Algorithm 1)."""

CYCLE = f"results/training/{RUN}/cycle{{cycle}}"
TRAIN_PACKED = f"results/data/{settings.data.train}/x{{scale}}.h5"


def cycles_of(wildcards):
    return plan_cycles(settings, wildcards.model, wildcards.method)


def cycle_of(wildcards):
    cycles = cycles_of(wildcards)
    number = int(wildcards.cycle)
    if number > len(cycles):
        raise WorkflowError(
            f"{wildcards.method} on {wildcards.model} has {len(cycles)} cycles; cycle {number} was asked for"
        )
    return cycles[number - 1]


def file_of_cycle(wildcards, number, name):
    return CYCLE.format(**{**wildcards, "cycle": number}) + f"/{name}.safetensors"


def before(wildcards, phase):
    """What a stage starts from: the previous snapshot, and the mask that holds in it; nothing for the first."""
    number = int(wildcards.cycle)
    files = {}
    if phase == "inverse" and cycle_of(wildcards).uniform:
        files["previous"] = file_of_cycle(wildcards, number, "uniform")
    elif number > 1:
        last = cycles_of(wildcards)[number - 2].last_phase
        files["previous"] = file_of_cycle(wildcards, number - 1, last)
    attribution = settings.methods[wildcards.method].attribution
    if attribution and number > 1 and phase in attribution.phases:
        files["mask"] = file_of_cycle(wildcards, number - 1, "mask")
    return files


def stage_settings(wildcards, phase):
    """Everything that decides what a stage computes, besides its inputs."""
    cycle = cycle_of(wildcards)
    values = settings.training_of(wildcards.model)
    method = settings.methods[wildcards.method]
    stage = cycle.uniform if phase == "uniform" else cycle.inverse
    return plain(
        values.model_dump(exclude={"epochs"}),
        **network(wildcards.model),
        scale=int(wildcards.scale),
        seed=int(wildcards.seed),
        loss=method.loss,
        precision=settings.compute.precision,
        patch=grid(wildcards.scale).size,
        first_epoch=stage.first_epoch,
        epochs=stage.epochs,
        counts=stage.counts,
    )


def attribution_settings(wildcards):
    """The settings of one attribution: the share of frozen units is beta * e / T."""
    attribution = settings.methods[wildcards.method].attribution
    values = settings.training_of(wildcards.model)
    return plain(
        attribution.model_dump(exclude={"phases"}),
        **network(wildcards.model),
        scale=int(wildcards.scale),
        seed=int(wildcards.seed),
        loss=settings.methods[wildcards.method].loss,
        batch=values.batch,
        patch=grid(wildcards.scale).size,
        cycle=int(wildcards.cycle),
        epoch=cycle_of(wildcards).end_epoch,
        total_epochs=cycles_of(wildcards)[-1].end_epoch,
    )


def previous_mask(wildcards):
    """With `update: cumulative`, the mask that the next one extends."""
    attribution = settings.methods[wildcards.method].attribution
    number = int(wildcards.cycle)
    if attribution.update == "cumulative" and number > 1:
        return {"keep": file_of_cycle(wildcards, number - 1, "mask")}
    return {}


def stages_of(wildcards):
    """The stages of a run, in order, without suffix."""
    return [
        CYCLE.format(**{**wildcards, "cycle": number}) + f"/{phase}"
        for number, cycle in enumerate(cycles_of(wildcards), 1)
        for phase in ("uniform", "inverse")
        if getattr(cycle, phase)
    ]


def masks_of(wildcards):
    """The attributions of a run whose masks a later cycle uses."""
    count = len(cycles_of(wildcards)) if settings.methods[wildcards.method].attribution else 1
    return [CYCLE.format(**{**wildcards, "cycle": number}) + "/mask" for number in range(1, count)]


rule train_uniform:
    input:
        unpack(lambda w: before(w, "uniform")),
        packed=TRAIN_PACKED,
    output:
        snapshot=f"{CYCLE}/uniform.safetensors",
        journal=f"{CYCLE}/uniform.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_uniform"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_uniform")
    threads: THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "uniform"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/uniform",
        code=code("train_uniform"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, uniform sampling"
    script:
        "../workflow_scripts/train_uniform.py"


rule train_inverse:
    input:
        unpack(lambda w: before(w, "inverse")),
        packed=TRAIN_PACKED,
        shards=lambda w: f"results/shards/{settings.data.train}/x{w.scale}/{settings.methods[w.method].class_split}",
    output:
        snapshot=f"{CYCLE}/inverse.safetensors",
        journal=f"{CYCLE}/inverse.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_inverse"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_inverse")
    threads: THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "inverse"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/inverse",
        code=code("train_inverse"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, inverse sampling"
    script:
        "../workflow_scripts/train_inverse.py"


rule attribute_parameters:
    input:
        unpack(previous_mask),
        baseline=f"{CYCLE}/uniform.safetensors",
        target=f"{CYCLE}/inverse.safetensors",
        packed=TRAIN_PACKED,
    output:
        mask=f"{CYCLE}/mask.safetensors",
        summary=f"{CYCLE}/mask.json",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_attribution"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_attribution")
    threads: THREADS
    resources:
        gpu=1,
    params:
        settings=attribution_settings,
        code=code("attribute_parameters"),
    message:
        "Attributing the parameters of {wildcards.model} x{wildcards.scale}, {wildcards.method}, "
        "seed {wildcards.seed}: cycle {wildcards.cycle}"
    script:
        "../workflow_scripts/attribute_parameters.py"


rule deliver_weights:
    input:
        snapshot=lambda w: f"{stages_of(w)[-1]}.safetensors",
        journals=lambda w: [f"{stage}.csv" for stage in stages_of(w)],
        attributions=lambda w: [f"{mask}.json" for mask in masks_of(w)],
    output:
        weights=f"results/models/{RUN}.safetensors",
        summary=f"results/models/{RUN}.json",
    log:
        log_of(f"deliver_weights/{RUN}"),
    threads: 1
    params:
        settings=lambda w: plain(
            network(w.model),
            scale=int(w.scale),
            model=w.model,
            method=w.method,
            seed=int(w.seed),
            trained_on=settings.data.train,
        ),
        code=code("deliver_weights"),
    message:
        "Delivering {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/deliver_weights.py"
