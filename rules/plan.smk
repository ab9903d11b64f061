"""What everything takes, before it is started."""


rule plan:
    log:
        log_of("plan"),
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=1,
    params:
        settings=plan_settings,
    message:
        "Measuring steps to plan the runs"
    script:
        "../workflow_scripts/plan.py"
