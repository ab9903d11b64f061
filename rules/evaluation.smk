"""Scores on the benchmarks (Section 4.1), and the trained networks' error on sub-images (Figures 3 to 5)."""


rule evaluate:
    input:
        packed="<results>/data/{benchmark}/x{scale}.h5",
        weights=f"<results>/models/{DELIVERED}.safetensors",
    output:
        f"<results>/evaluation/{DELIVERED}/{{benchmark}}.csv",
    log:
        f"<results>/logs/evaluate/{DELIVERED}_{{benchmark}}.log",
    benchmark:
        f"<results>/benchmarks/evaluate/{DELIVERED}_{{benchmark}}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings_of("evaluate"),
        compute=compute,
        key=key_of("evaluate"),
    message:
        "Evaluate {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed} "
        "on {wildcards.benchmark}"
    group:
        together("runs", small=True)
    script:
        "../workflow_scripts/evaluate.py"


rule evaluate_bicubic:
    input:
        packed="<results>/data/{benchmark}/x{scale}.h5",
    output:
        "<results>/evaluation/bicubic_x{scale}/{benchmark}.csv",
    log:
        "<results>/logs/evaluate_bicubic/x{scale}_{benchmark}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("evaluate_bicubic"),
        key=key_of("evaluate_bicubic"),
    message:
        "Evaluate bicubic interpolation x{wildcards.scale} on {wildcards.benchmark}"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/evaluate_bicubic.py"


rule fetch_niqe_model:
    output:
        "<results>/perceptual/niqe_model.npz",
    log:
        "<results>/logs/fetch_niqe_model.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    params:
        settings=settings_of("fetch_niqe_model"),
        key=key_of("fetch_niqe_model"),
    message:
        "Take NIQE's pristine model"
    script:
        "../workflow_scripts/fetch_niqe_model.py"


rule evaluate_perceptual:
    input:
        unpack(needs_of("evaluate_perceptual")),
    output:
        f"<results>/perceptual/{DELIVERED}/{{benchmark}}.csv",
    log:
        f"<results>/logs/evaluate_perceptual/{DELIVERED}_{{benchmark}}.log",
    benchmark:
        f"<results>/benchmarks/evaluate_perceptual/{DELIVERED}_{{benchmark}}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings_of("evaluate_perceptual"),
        compute=compute,
        key=key_of("evaluate_perceptual"),
    message:
        "Compute NIQE and LPIPS of {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed} "
        "on {wildcards.benchmark}"
    group:
        together("runs", small=True)
    script:
        "../workflow_scripts/evaluate_perceptual.py"


rule evaluate_perceptual_bicubic:
    input:
        unpack(needs_of("evaluate_perceptual_bicubic")),
    output:
        "<results>/perceptual/bicubic_x{scale}/{benchmark}.csv",
    log:
        "<results>/logs/evaluate_perceptual_bicubic/x{scale}_{benchmark}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    resources:
        gpu=GPU if lpips_available() else 0,
    params:
        settings=settings_of("evaluate_perceptual_bicubic"),
        compute=compute,
        key=key_of("evaluate_perceptual_bicubic"),
    message:
        "Compute NIQE and LPIPS of bicubic interpolation x{wildcards.scale} on {wildcards.benchmark}"
    script:
        "../workflow_scripts/evaluate_perceptual_bicubic.py"


rule score_sub_images:
    input:
        packed="<results>/data/{source}/x{scale}.h5",
        windows="<results>/sub_images/{source}/x{scale}.h5",
        weights=f"<results>/models/{DELIVERED}.safetensors",
    output:
        f"<results>/sub_image_scores/{DELIVERED}/{{source}}.h5",
    log:
        f"<results>/logs/score_sub_images/{DELIVERED}_{{source}}.log",
    benchmark:
        f"<results>/benchmarks/score_sub_images/{DELIVERED}_{{source}}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings_of("score_sub_images"),
        compute=compute,
        key=key_of("score_sub_images"),
    message:
        "Score the sub-images of {wildcards.source} by {wildcards.model} x{wildcards.scale}, "
        "{wildcards.method}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/score_sub_images.py"
