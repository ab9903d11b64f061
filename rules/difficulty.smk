"""The difficulty of sub-images, their classes, and the shards that inverse sampling draws from (Section 3.2)."""


# Files of the user's are no inputs: they count by content, in the key, whatever their date (that of another clock, too).
rule import_reference:
    output:
        "<results>/reference/x{scale}.safetensors",
    log:
        "<results>/logs/import_reference/x{scale}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    params:
        settings=settings_of("import_reference"),
        key=key_of("import_reference"),
    wildcard_constraints:
        scale=any_of(plan.given_references),
    message:
        "Take the given reference network for x{wildcards.scale}"
    script:
        "../workflow_scripts/import_reference.py"


# What most training waits for goes before what else could run.
rule train_reference:
    input:
        unpack(needs_of("train_reference")),
    output:
        weights="<results>/reference/x{scale}.safetensors",
        snapshot="<results>/reference/x{scale}_snapshot.safetensors",
        journal="<results>/reference/x{scale}.csv",
    log:
        "<results>/logs/train_reference/x{scale}.log",
    benchmark:
        "<results>/benchmarks/train_reference/x{scale}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: stage_threads
    priority: 50
    resources:
        gpu=stage_gpus,
        mem_mb=memory_of_run,
        runtime=minutes_of_run,
    params:
        settings=settings_of("train_reference"),
        compute=compute_stage,
        key=key_of("train_reference"),
    wildcard_constraints:
        scale=any_of(plan.trained_references),
    message:
        "Train the reference network for x{wildcards.scale}"
    group:
        together("difficulty")
    script:
        "../workflow_scripts/train_reference.py"


rule score_difficulty:
    input:
        packed="<results>/data/{source}/x{scale}.h5",
        windows="<results>/sub_images/{source}/x{scale}.h5",
        weights="<results>/reference/x{scale}.safetensors",
    output:
        "<results>/difficulty/{source}/x{scale}/scores.h5",
    log:
        "<results>/logs/score_difficulty/{source}_x{scale}.log",
    benchmark:
        "<results>/benchmarks/score_difficulty/{source}_x{scale}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    priority: 50
    resources:
        gpu=GPU,
    params:
        settings=settings_of("score_difficulty"),
        compute=compute,
        key=key_of("score_difficulty"),
    message:
        "Score the sub-images of {wildcards.source} x{wildcards.scale}"
    group:
        "difficulty" if ON_CLUSTER else None
    script:
        "../workflow_scripts/score_sub_images.py"


rule compute_thresholds:
    input:
        scores="<results>/difficulty/{source}/x{scale}/scores.h5",
    output:
        "<results>/difficulty/{source}/x{scale}/{split}/thresholds.csv",
    log:
        "<results>/logs/compute_thresholds/{source}_x{scale}_{split}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("compute_thresholds"),
        key=key_of("compute_thresholds"),
    message:
        "Compute class sizes and thresholds of {wildcards.source} x{wildcards.scale}, split {wildcards.split}"
    group:
        "difficulty" if ON_CLUSTER else None
    script:
        "../workflow_scripts/compute_thresholds.py"


rule write_class_shards:
    input:
        packed="<results>/data/{source}/x{scale}.h5",
        scores="<results>/difficulty/{source}/x{scale}/scores.h5",
        thresholds="<results>/difficulty/{source}/x{scale}/{split}/thresholds.csv",
    output:
        directory("<results>/shards/{source}/x{scale}/{split}"),
    log:
        "<results>/logs/write_class_shards/{source}_x{scale}_{split}.log",
    benchmark:
        "<results>/benchmarks/write_class_shards/{source}_x{scale}_{split}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("write_class_shards"),
        key=key_of("write_class_shards"),
    message:
        "Write the class shards of {wildcards.source} x{wildcards.scale}, split {wildcards.split}"
    group:
        "difficulty" if ON_CLUSTER else None
    script:
        "../workflow_scripts/write_class_shards.py"
