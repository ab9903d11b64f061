"""The paper's figures."""


rule figure_1:
    input:
        scores=f"results/difficulty/{settings.data.train}/x{max(settings.scales)}/scores.h5",
        thresholds=f"results/difficulty/{settings.data.train}/x{max(settings.scales)}/{used_splits()[0]}/thresholds.csv",
    output:
        pdf="results/figures/figure1.pdf",
        png=report("results/figures/figure1.png", caption="../report/figure1.rst", category="Difficulty"),
    log:
        log_of("figure_1"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=plain(source=settings.data.train, scale=max(settings.scales), split=used_splits()[0]),
        code=code("figure_1"),
    message:
        "Figure 1: the long tail of difficulty"
    script:
        "../workflow_scripts/figure_1.py"
