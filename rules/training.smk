"""Training: stages and the attribution between them, chained by cycle (Section 3, Algorithm 1); the compared methods."""


rule train_uniform:
    input:
        unpack(lambda w: before(w, "uniform")),
        packed=TRAIN_PACKED,
    output:
        snapshot=f"{CYCLE}/uniform.safetensors",
        journal=f"{CYCLE}/uniform.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_uniform"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_uniform")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "uniform"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/uniform",
        code=code("train_uniform"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, uniform sampling"
    script:
        "../workflow_scripts/train_uniform.py"


rule train_inverse:
    input:
        unpack(lambda w: before(w, "inverse")),
        packed=TRAIN_PACKED,
        shards=lambda w: f"results/shards/{settings.data.train}/x{w.scale}/{settings.methods[w.method].class_split}",
    output:
        snapshot=f"{CYCLE}/inverse.safetensors",
        journal=f"{CYCLE}/inverse.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_inverse"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_inverse")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "inverse"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/inverse",
        code=code("train_inverse"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, inverse sampling"
    script:
        "../workflow_scripts/train_inverse.py"


rule train_informative:
    input:
        unpack(lambda w: before(w, "informative")),
        packed=TRAIN_PACKED,
        selection=lambda w: (
            f"results/informative/{settings.data.train}/x{w.scale}/{settings.methods[w.method].patch_selection}.h5"
        ),
    output:
        snapshot=f"{CYCLE}/informative.safetensors",
        journal=f"{CYCLE}/informative.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_informative"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_informative")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "informative"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/informative",
        code=code("train_informative"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, informative patches"
    script:
        "../workflow_scripts/train_informative.py"


rule train_uncertainty:
    input:
        unpack(lambda w: before(w, "uncertainty")),
        packed=TRAIN_PACKED,
    output:
        snapshot=f"{CYCLE}/uncertainty.safetensors",
        journal=f"{CYCLE}/uncertainty.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_uncertainty"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_uncertainty")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "uncertainty"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/uncertainty",
        code=code("train_uncertainty"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, UDN's first step"
    script:
        "../workflow_scripts/train_uncertainty.py"


rule train_weighted:
    input:
        unpack(lambda w: before(w, "weighted")),
        packed=TRAIN_PACKED,
    output:
        snapshot=f"{CYCLE}/weighted.safetensors",
        journal=f"{CYCLE}/weighted.csv",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_weighted"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_weighted")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=lambda w: stage_settings(w, "weighted"),
        state=f"results/.state/training/{RUN}/cycle{{cycle}}/weighted",
        code=code("train_weighted"),
    message:
        "Training {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}: "
        "cycle {wildcards.cycle}, UDN's second step"
    script:
        "../workflow_scripts/train_weighted.py"


rule attribute_parameters:
    input:
        unpack(previous_mask),
        baseline=f"{CYCLE}/uniform.safetensors",
        target=f"{CYCLE}/inverse.safetensors",
        packed=TRAIN_PACKED,
    output:
        mask=f"{CYCLE}/mask.safetensors",
        summary=f"{CYCLE}/mask.json",
    log:
        log_of(f"training/{RUN}/cycle{{cycle}}_attribution"),
    benchmark:
        benchmark_of(f"training/{RUN}/cycle{{cycle}}_attribution")
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=attribution_settings,
        code=code("attribute_parameters"),
    message:
        "Attributing the parameters of {wildcards.model} x{wildcards.scale}, {wildcards.method}, "
        "seed {wildcards.seed}: cycle {wildcards.cycle}"
    script:
        "../workflow_scripts/attribute_parameters.py"


rule deliver_weights:
    input:
        snapshot=lambda w: f"{stages_of(w)[-1]}.safetensors",
        journals=lambda w: [f"{stage}.csv" for stage in stages_of(w)],
        attributions=lambda w: [f"{mask}.json" for mask in masks_of(w)],
    output:
        weights=f"results/models/{RUN}.safetensors",
        summary=f"results/models/{RUN}.json",
    log:
        log_of(f"deliver_weights/{RUN}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=lambda w: plain(
            network(w.model),
            scale=int(w.scale),
            model=w.model,
            method=w.method,
            seed=int(w.seed),
            trained_on=settings.data.train,
        ),
        code=code("deliver_weights"),
    message:
        "Delivering {wildcards.model} x{wildcards.scale}, {wildcards.method}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/deliver_weights.py"
