"""How long everything takes, before it is started."""


rule plan:
    log:
        "<results>/logs/plan.log",
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
    params:
        settings=lambda w: planned(plan.forecast),
        compute=lambda w: compute(w, None),
    message:
        "Measure steps to plan the runs"
    script:
        "../workflow_scripts/plan.py"
