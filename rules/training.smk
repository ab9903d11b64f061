"""Training: stages and the attribution between them, chained by cycle (Section 3, Algorithm 1); the compared methods."""


rule import_start:
    output:
        "<results>/start/{network}_x{scale}.safetensors",
    log:
        "<results>/logs/import_start/{network}_x{scale}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("import_start"),
        key=key_of("import_start"),
    message:
        "Take the given weights that {wildcards.network} x{wildcards.scale} starts from"
    script:
        "../workflow_scripts/import_start.py"


rule check_network:
    output:
        "<results>/networks/{model}_x{scale}.json",
    log:
        "<results>/logs/check_network/{model}_x{scale}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    priority: 100
    params:
        settings=settings_of("check_network"),
        key=key_of("check_network"),
    message:
        "Check the network {wildcards.model} x{wildcards.scale}"
    script:
        "../workflow_scripts/check_network.py"


rule train_uniform:
    input:
        unpack(needs_of("train_stage", phase="uniform")),
    output:
        snapshot=f"{CYCLE}/uniform.safetensors",
        journal=f"{CYCLE}/uniform.csv",
    log:
        f"<results>/logs/training/{RUN}/cycle{{cycle}}_uniform.log",
    benchmark:
        f"<results>/benchmarks/training/{RUN}/cycle{{cycle}}_uniform.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: stage_threads
    resources:
        gpu=stage_gpus,
        mem_mb=memory_of_run,
        runtime=minutes_of_run,
    params:
        settings=settings_of("train_stage", phase="uniform"),
        compute=compute_run,
        key=key_of("train_stage", phase="uniform"),
    message:
        "Train {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, uniform sampling"
    group:
        together("runs")
    script:
        "../workflow_scripts/train_stage.py"


use rule train_uniform as train_inverse with:
    input:
        unpack(needs_of("train_stage", phase="inverse")),
    output:
        snapshot=f"{CYCLE}/inverse.safetensors",
        journal=f"{CYCLE}/inverse.csv",
    log:
        f"<results>/logs/training/{RUN}/cycle{{cycle}}_inverse.log",
    benchmark:
        f"<results>/benchmarks/training/{RUN}/cycle{{cycle}}_inverse.tsv"
    params:
        settings=settings_of("train_stage", phase="inverse"),
        compute=compute_run,
        key=key_of("train_stage", phase="inverse"),
    message:
        "Train {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, inverse sampling"


use rule train_uniform as train_informative with:
    input:
        unpack(needs_of("train_stage", phase="informative")),
    output:
        snapshot=f"{CYCLE}/informative.safetensors",
        journal=f"{CYCLE}/informative.csv",
    log:
        f"<results>/logs/training/{RUN}/cycle{{cycle}}_informative.log",
    benchmark:
        f"<results>/benchmarks/training/{RUN}/cycle{{cycle}}_informative.tsv"
    params:
        settings=settings_of("train_stage", phase="informative"),
        compute=compute_run,
        key=key_of("train_stage", phase="informative"),
    message:
        "Train {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, informative patches"


use rule train_uniform as train_uncertainty with:
    input:
        unpack(needs_of("train_stage", phase="uncertainty")),
    output:
        snapshot=f"{CYCLE}/uncertainty.safetensors",
        journal=f"{CYCLE}/uncertainty.csv",
    log:
        f"<results>/logs/training/{RUN}/cycle{{cycle}}_uncertainty.log",
    benchmark:
        f"<results>/benchmarks/training/{RUN}/cycle{{cycle}}_uncertainty.tsv"
    params:
        settings=settings_of("train_stage", phase="uncertainty"),
        compute=compute_run,
        key=key_of("train_stage", phase="uncertainty"),
    message:
        "Train {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, UDN's first step"


use rule train_uniform as train_weighted with:
    input:
        unpack(needs_of("train_stage", phase="weighted")),
    output:
        snapshot=f"{CYCLE}/weighted.safetensors",
        journal=f"{CYCLE}/weighted.csv",
    log:
        f"<results>/logs/training/{RUN}/cycle{{cycle}}_weighted.log",
    benchmark:
        f"<results>/benchmarks/training/{RUN}/cycle{{cycle}}_weighted.tsv"
    params:
        settings=settings_of("train_stage", phase="weighted"),
        compute=compute_run,
        key=key_of("train_stage", phase="weighted"),
    message:
        "Train {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, UDN's second step"


rule attribute_parameters:
    input:
        unpack(needs_of("attribute_parameters")),
    output:
        mask=f"{CYCLE}/mask.safetensors",
        summary=f"{CYCLE}/mask.json",
    log:
        f"<results>/logs/training/{RUN}/cycle{{cycle}}_attribution.log",
    benchmark:
        f"<results>/benchmarks/training/{RUN}/cycle{{cycle}}_attribution.tsv"
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
        mem_mb=memory_of_run,
        runtime=minutes_of_run,
    params:
        settings=settings_of("attribute_parameters"),
        compute=compute,
        key=key_of("attribute_parameters"),
    message:
        "Attribute the parameters of {wildcards.model} x{wildcards.scale}, {wildcards.method}, "
        "seed {wildcards.seed}: cycle {wildcards.cycle}"
    group:
        together("runs")
    script:
        "../workflow_scripts/attribute_parameters.py"


rule deliver_weights:
    input:
        snapshot=lambda w: needed("deliver_weights", "stages")(w)[-1],
        journals=needed("deliver_weights", "stages", ".csv"),
        attributions=needed("deliver_weights", "masks", ".json"),
        start=needed("deliver_weights", "start"),
    output:
        weights=f"<results>/models/{DELIVERED}.safetensors",
        summary=f"<results>/models/{DELIVERED}.json",
    log:
        f"<results>/logs/deliver_weights/{DELIVERED}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("deliver_weights"),
        key=key_of("deliver_weights"),
    message:
        "Deliver {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}"
    group:
        together("runs", small=True)
    script:
        "../workflow_scripts/deliver_weights.py"
