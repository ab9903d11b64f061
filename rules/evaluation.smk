"""PSNR and SSIM on the benchmarks (Section 4.1)."""


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
