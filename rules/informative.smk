"""The patches that SamplingAug trains on: an error map of each image, once, and a choice among its patches."""


rule map_informativeness:
    input:
        packed="results/data/{source}/x{scale}.h5",
    output:
        "results/informative/{source}/x{scale}/maps.h5",
    log:
        log_of("map_informativeness/{source}_x{scale}"),
    benchmark:
        benchmark_of("map_informativeness/{source}_x{scale}")
    conda:
        "../envs/bspa.yaml"
    threads: THREADS
    params:
        settings=informative_settings,
        code=code("map_informativeness"),
    message:
        "Mapping the error of interpolation over {wildcards.source} x{wildcards.scale}"
    script:
        "../workflow_scripts/map_informativeness.py"


rule select_patches:
    input:
        maps="results/informative/{source}/x{scale}/maps.h5",
    output:
        "results/informative/{source}/x{scale}/{selection}.h5",
    log:
        log_of("select_patches/{source}_x{scale}_{selection}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=lambda w: plain(settings.patch_selections[w.selection]),
        code=code("select_patches"),
    message:
        "Choosing patches of {wildcards.source} x{wildcards.scale}, selection {wildcards.selection}"
    script:
        "../workflow_scripts/select_patches.py"
