"""The patches that SamplingAug trains on: an error map of each image, and a choice among its patches."""


rule map_informativeness:
    input:
        packed="<results>/data/{source}/x{scale}.h5",
    output:
        "<results>/informative/{source}/x{scale}/maps.h5",
    log:
        "<results>/logs/map_informativeness/{source}_x{scale}.log",
    benchmark:
        "<results>/benchmarks/map_informativeness/{source}_x{scale}.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: THREADS
    params:
        settings=settings_of("map_informativeness"),
        key=key_of("map_informativeness"),
    message:
        "Map the interpolation error of {wildcards.source} x{wildcards.scale}"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/map_informativeness.py"


rule select_patches:
    input:
        maps="<results>/informative/{source}/x{scale}/maps.h5",
    output:
        "<results>/informative/{source}/x{scale}/{selection}.h5",
    log:
        "<results>/logs/select_patches/{source}_x{scale}_{selection}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("select_patches"),
        key=key_of("select_patches"),
    message:
        "Select patches of {wildcards.source} x{wildcards.scale}, selection {wildcards.selection}"
    group:
        "sources" if ON_CLUSTER else None
    script:
        "../workflow_scripts/select_patches.py"
