"""Photographs to packed HR and LR images and windows of sub-images (Section 4.1)."""


rule fetch_archive:
    output:
        directory("results/data/archives/{archive}"),
    log:
        log_of("fetch_archive/{archive}"),
    benchmark:
        benchmark_of("fetch_archive/{archive}")
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    resources:
        gate=1,
    params:
        # No digest of the code: an edit to the downloader is no reason to download gigabytes again.
        archive=lambda w: plain(settings.archives[w.archive]),
        state="results/.state/archives/{archive}",
    message:
        "Downloading and unpacking {wildcards.archive}"
    script:
        "../workflow_scripts/fetch_archive.py"


rule make_manifest:
    input:
        source_files,
    output:
        "results/data/{source}/manifest.csv",
    log:
        log_of("make_manifest/{source}"),
    benchmark:
        benchmark_of("make_manifest/{source}")
    conda:
        "../envs/bspa.yaml"
    threads: THREADS
    priority: 100
    resources:
        gate=1,
    params:
        settings=manifest_settings,
        code=code("make_manifest"),
    message:
        "Looking through the photographs of {wildcards.source}"
    script:
        "../workflow_scripts/make_manifest.py"


# Every image of every source is decoded and checked before anything is made of any: packing needs all of the
# `gate`, of which each job before it holds a part (profiles/ set how much there is). An order by files would not
# do: with a new benchmark, everything made before would be made again.
rule check_data:
    input:
        manifests=expand("results/data/{source}/manifest.csv", source=USED_SOURCES),
    output:
        "results/data/checked.txt",
    log:
        log_of("check_data"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    resources:
        gate=1,
    params:
        settings=plain(
            sources=USED_SOURCES,
            train=settings.data.train,
            benchmarks=list(settings.data.benchmarks),
            grids={scale: plain(grid(scale)) for scale in sorted(settings.scales)},
            classes={name: split.classes for name, split in sorted(SPLITS.items())},
        ),
        code=code("check_data"),
    message:
        "Checking that every source is fit for its use"
    script:
        "../workflow_scripts/check_data.py"


rule pack_images:
    input:
        manifest="results/data/{source}/manifest.csv",
    output:
        "results/data/{source}/x{scale}.h5",
    log:
        log_of("pack_images/{source}_x{scale}"),
    benchmark:
        benchmark_of("pack_images/{source}_x{scale}")
    conda:
        "../envs/bspa.yaml"
    threads: THREADS
    resources:
        gate=1000,
    params:
        settings=lambda w: plain(scale=int(w.scale), border=settings.data.border),
        code=code("pack_images"),
    message:
        "Packing HR and x{wildcards.scale} LR images of {wildcards.source}"
    script:
        "../workflow_scripts/pack_images.py"


rule crop_sub_images:
    input:
        packed="results/data/{source}/x{scale}.h5",
    output:
        "results/sub_images/{source}/x{scale}.h5",
    log:
        log_of("crop_sub_images/{source}_x{scale}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=lambda w: plain(grid(w.scale)),
        code=code("crop_sub_images"),
    message:
        "Laying the grid of sub-images over {wildcards.source} x{wildcards.scale}"
    script:
        "../workflow_scripts/crop_sub_images.py"
