"""Scores on the benchmarks (Section 4.1), and the trained networks' error on sub-images (Figures 3 to 5)."""


rule evaluate:
    input:
        packed="results/data/{benchmark}/x{scale}.h5",
        weights=f"results/models/{RUN}.safetensors",
    output:
        f"results/evaluation/{RUN}/{{benchmark}}.csv",
    log:
        log_of(f"evaluate/{RUN}_{{benchmark}}"),
    benchmark:
        benchmark_of(f"evaluate/{RUN}_{{benchmark}}")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: plain(model=network(w.model), scale=int(w.scale), tile=settings.compute.tile),
        code=code("evaluate"),
    message:
        "Evaluating {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed} "
        "on {wildcards.benchmark}"
    script:
        "../workflow_scripts/evaluate.py"


rule evaluate_bicubic:
    input:
        packed="results/data/{benchmark}/x{scale}.h5",
    output:
        "results/evaluation/bicubic_x{scale}/{benchmark}.csv",
    log:
        log_of("evaluate_bicubic/x{scale}_{benchmark}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=lambda w: plain(scale=int(w.scale), border=settings.data.border),
        code=code("evaluate_bicubic"),
    message:
        "Evaluating bicubic interpolation x{wildcards.scale} on {wildcards.benchmark}"
    script:
        "../workflow_scripts/evaluate_bicubic.py"


rule fetch_niqe_model:
    input:
        given_niqe_model,
    output:
        "results/perceptual/niqe_model.npz",
    log:
        log_of("fetch_niqe_model"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    resources:
        gate=1,
    params:
        settings=plain(settings.perceptual.niqe),
        state="results/.state/niqe_model",
        code=code("fetch_niqe_model"),
    message:
        "Taking NIQE's pristine model"
    script:
        "../workflow_scripts/fetch_niqe_model.py"


rule evaluate_perceptual:
    input:
        unpack(niqe_model),
        packed="results/data/{benchmark}/x{scale}.h5",
        weights=f"results/models/{RUN}.safetensors",
    output:
        f"results/perceptual/{RUN}/{{benchmark}}.csv",
    log:
        log_of(f"evaluate_perceptual/{RUN}_{{benchmark}}"),
    benchmark:
        benchmark_of(f"evaluate_perceptual/{RUN}_{{benchmark}}")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: plain(
            model=network(w.model), scale=int(w.scale), tile=settings.compute.tile, lpips=LPIPS
        ),
        code=code("evaluate_perceptual"),
    message:
        "NIQE and LPIPS of {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed} "
        "on {wildcards.benchmark}"
    script:
        "../workflow_scripts/evaluate_perceptual.py"


rule evaluate_perceptual_bicubic:
    input:
        unpack(niqe_model),
        packed="results/data/{benchmark}/x{scale}.h5",
    output:
        "results/perceptual/bicubic_x{scale}/{benchmark}.csv",
    log:
        log_of("evaluate_perceptual_bicubic/x{scale}_{benchmark}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=lambda w: plain(scale=int(w.scale), border=settings.data.border, lpips=LPIPS),
        code=code("evaluate_perceptual_bicubic"),
    message:
        "NIQE and LPIPS of bicubic interpolation x{wildcards.scale} on {wildcards.benchmark}"
    script:
        "../workflow_scripts/evaluate_perceptual_bicubic.py"


rule score_sub_images:
    input:
        packed="results/data/{source}/x{scale}.h5",
        windows="results/sub_images/{source}/x{scale}.h5",
        weights=f"results/models/{RUN}.safetensors",
    output:
        f"results/sub_image_scores/{RUN}/{{source}}.h5",
    log:
        log_of(f"score_sub_images/{RUN}_{{source}}"),
    benchmark:
        benchmark_of(f"score_sub_images/{RUN}_{{source}}")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: plain(model=network(w.model), scale=int(w.scale), batch=settings.reference.batch),
        code=code("score_sub_images"),
    message:
        "Scoring the sub-images of {wildcards.source} by {wildcards.model} x{wildcards.scale}, "
        "{wildcards.method}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/score_sub_images.py"
