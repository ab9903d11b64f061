"""Photographs to packed HR and LR images and windows of sub-images (Section 4.1)."""


rule fetch_archive:
    output:
        directory("<results>/data/archives/{archive}"),
    log:
        "<results>/logs/fetch_archive/{archive}.log",
    benchmark:
        "<results>/benchmarks/fetch_archive/{archive}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    params:
        settings=settings_of("fetch_archive"),
        key=key_of("fetch_archive"),
    message:
        "Download and unpack {wildcards.archive}"
    script:
        "../workflow_scripts/fetch_archive.py"


# Every image is decoded to its end and every source is checked before long jobs begin: these jobs go first, alone.
# An input of training would not do: Snakemake would train again after a new benchmark, or, if the input is ancient,
# overlook another change that comes with the benchmark.
rule make_manifest:
    input:
        unpack(needs_of("make_manifest")),
    output:
        "<results>/data/{source}/manifest.csv",
    log:
        "<results>/logs/make_manifest/{source}.log",
    benchmark:
        "<results>/benchmarks/make_manifest/{source}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: ALL_CORES
    priority: 200
    params:
        settings=settings_of("make_manifest"),
        key=key_of("make_manifest"),
    message:
        "Check the photographs of {wildcards.source}"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/make_manifest.py"


rule check_data:
    input:
        manifests=expand("<results>/data/{source}/manifest.csv", source=plan.sources),
    output:
        "<results>/data/checked.txt",
    log:
        "<results>/logs/check_data.log",
    conda:
        "../envs/bspa.yaml"
    threads: ALL_CORES
    priority: 200
    params:
        settings=settings_of("check_data"),
        key=key_of("check_data"),
    message:
        "Check the sources against each other"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/check_data.py"


rule pack_images:
    input:
        manifest="<results>/data/{source}/manifest.csv",
    output:
        "<results>/data/{source}/x{scale}.h5",
    log:
        "<results>/logs/pack_images/{source}_x{scale}.log",
    benchmark:
        "<results>/benchmarks/pack_images/{source}_x{scale}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: THREADS
    params:
        settings=settings_of("pack_images"),
        key=key_of("pack_images"),
    message:
        "Pack HR and x{wildcards.scale} LR images of {wildcards.source}"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/pack_images.py"


rule crop_sub_images:
    input:
        packed="<results>/data/{source}/x{scale}.h5",
    output:
        "<results>/sub_images/{source}/x{scale}.h5",
    log:
        "<results>/logs/crop_sub_images/{source}_x{scale}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("crop_sub_images"),
        key=key_of("crop_sub_images"),
    message:
        "Lay the grid of sub-images over {wildcards.source} x{wildcards.scale}"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/crop_sub_images.py"
