"""The difficulty of sub-images, their classes, and the shards that inverse sampling draws from (Section 3.2)."""


rule import_reference:
    input:
        given_weights,
    output:
        "results/reference/x{scale}.safetensors",
    log:
        log_of("import_reference/x{scale}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    resources:
        gate=1,
    params:
        settings=lambda w: plain(
            network(settings.reference.model),
            scale=int(w.scale),
            weights=plain(settings.reference.weights[f"x{w.scale}"]),
        ),
        state="results/.state/reference/x{scale}",
        code=code("import_reference"),
    wildcard_constraints:
        scale=any_of(GIVEN) or "(?!)",
    message:
        "Taking the given reference network for x{wildcards.scale}"
    script:
        "../workflow_scripts/import_reference.py"


# What most training waits for goes before what else could run.
rule train_reference:
    input:
        packed=f"results/data/{settings.data.train}/x{{scale}}.h5",
    output:
        weights="results/reference/x{scale}.safetensors",
        snapshot="results/reference/x{scale}_snapshot.safetensors",
        journal="results/reference/x{scale}.csv",
    log:
        log_of("train_reference/x{scale}"),
    benchmark:
        benchmark_of("train_reference/x{scale}")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    priority: 50
    resources:
        gpu=1,
    params:
        settings=reference_settings,
        state="results/.state/reference/x{scale}",
        code=code("train_reference"),
    wildcard_constraints:
        scale=any_of(TRAINED) or "(?!)",
    message:
        "Training the reference network for x{wildcards.scale}"
    script:
        "../workflow_scripts/train_reference.py"


rule score_difficulty:
    input:
        packed="results/data/{source}/x{scale}.h5",
        windows="results/sub_images/{source}/x{scale}.h5",
        reference="results/reference/x{scale}.safetensors",
    output:
        "results/difficulty/{source}/x{scale}/scores.h5",
    log:
        log_of("score_difficulty/{source}_x{scale}"),
    benchmark:
        benchmark_of("score_difficulty/{source}_x{scale}")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    priority: 50
    resources:
        gpu=1,
    params:
        settings=lambda w: plain(
            model=network(settings.reference.model),
            scale=int(w.scale),
            batch=settings.reference.batch,
            precision=settings.reference.precision,
            sees=settings.reference.sees,
        ),
        code=code("score_difficulty"),
    message:
        "Scoring the sub-images of {wildcards.source} x{wildcards.scale}"
    script:
        "../workflow_scripts/score_difficulty.py"


rule compute_thresholds:
    input:
        scores="results/difficulty/{source}/x{scale}/scores.h5",
    output:
        "results/difficulty/{source}/x{scale}/{split}/thresholds.csv",
    log:
        log_of("compute_thresholds/{source}_x{scale}_{split}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=lambda w: plain(SPLITS[w.split]),
        code=code("compute_thresholds"),
    message:
        "Class sizes and thresholds of {wildcards.source} x{wildcards.scale}, split {wildcards.split}"
    script:
        "../workflow_scripts/compute_thresholds.py"


rule write_class_shards:
    input:
        packed="results/data/{source}/x{scale}.h5",
        scores="results/difficulty/{source}/x{scale}/scores.h5",
        thresholds="results/difficulty/{source}/x{scale}/{split}/thresholds.csv",
    output:
        directory("results/shards/{source}/x{scale}/{split}"),
    log:
        log_of("write_class_shards/{source}_x{scale}_{split}"),
    benchmark:
        benchmark_of("write_class_shards/{source}_x{scale}_{split}")
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=plain(samples=settings.shards),
        code=code("write_class_shards"),
    message:
        "Writing the class shards of {wildcards.source} x{wildcards.scale}, split {wildcards.split}"
    script:
        "../workflow_scripts/write_class_shards.py"
