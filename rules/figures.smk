"""The paper's figures. Each shows the largest scale and the first seed."""


rule figure_1:
    input:
        unpack(needs_of("figure_1")),
    output:
        pdf="<results>/figures/figure1.pdf",
        png=report(
            "<results>/figures/figure1.png",
            caption="../report/figure1.rst",
            category="Figures",
            labels={"figure": "1", "shows": "The long tail of difficulty"},
        ),
    log:
        "<results>/logs/figure_1.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("figure_1"),
        key=key_of("figure_1"),
    message:
        "Draw Figure 1: the long tail of difficulty"
    script:
        "../workflow_scripts/figure_1.py"


rule figure_3:
    input:
        unpack(needs_of("figure_3")),
    output:
        pdf="<results>/figures/figure3.pdf",
        png=report(
            "<results>/figures/figure3.png",
            caption="../report/figure3.rst",
            category="Figures",
            labels={"figure": "3", "shows": "PSNR of each class of difficulty"},
        ),
    log:
        "<results>/logs/figure_3.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("figure_3"),
        key=key_of("figure_3"),
    message:
        "Draw Figure 3: PSNR of each class of difficulty"
    script:
        "../workflow_scripts/figure_3.py"


rule figure_4:
    input:
        unpack(needs_of("figure_4")),
    output:
        pdf="<results>/figures/figure4.pdf",
        png=report(
            "<results>/figures/figure4.png",
            caption="../report/figure4.rst",
            category="Figures",
            labels={"figure": "4", "shows": "Super-resolved sub-images and their error"},
        ),
    log:
        "<results>/logs/figure_4.log",
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings_of("figure_4"),
        compute=compute,
        key=key_of("figure_4"),
    message:
        "Draw Figure 4: super-resolved sub-images and their error"
    script:
        "../workflow_scripts/figure_4.py"


rule figure_5:
    input:
        unpack(needs_of("figure_5")),
    output:
        pdf="<results>/figures/figure5.pdf",
        png=report(
            "<results>/figures/figure5.png",
            caption="../report/figure5.rst",
            category="Figures",
            labels={"figure": "5", "shows": "The sub-images' error before and after"},
        ),
    log:
        "<results>/logs/figure_5.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("figure_5"),
        key=key_of("figure_5"),
    message:
        "Draw Figure 5: the sub-images' error before and after"
    script:
        "../workflow_scripts/figure_5.py"


rule figure_6:
    input:
        unpack(needs_of("figure_6")),
    output:
        pdf="<results>/figures/figure6.pdf",
        png=report(
            "<results>/figures/figure6.png",
            caption="../report/figure6.rst",
            category="Figures",
            labels={"figure": "6", "shows": "Regions compared across methods"},
        ),
    log:
        "<results>/logs/figure_6.log",
    conda:
        "../envs/bspa.yaml"
    threads: GPU_THREADS
    resources:
        gpu=GPU,
    params:
        settings=settings_of("figure_6"),
        compute=compute,
        key=key_of("figure_6"),
    message:
        "Draw Figure 6: regions compared across methods"
    script:
        "../workflow_scripts/figure_6.py"


rule figure_7:
    input:
        files=lambda w: [
            in_results(product, ".json" if product.rule == "attribute_parameters" else ".csv")
            for product in planned(plan.figure_7).needs["chains"]
        ],
    output:
        pdf="<results>/figures/figure7.pdf",
        png=report(
            "<results>/figures/figure7.png",
            caption="../report/figure7.rst",
            category="Figures",
            labels={"figure": "7", "shows": "PSNR during training"},
        ),
    log:
        "<results>/logs/figure_7.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("figure_7"),
        key=key_of("figure_7"),
    message:
        "Draw Figure 7: PSNR during training"
    script:
        "../workflow_scripts/figure_7.py"


rule figure_training:
    input:
        journals=needed("figure_training", "stages", ".csv"),
    output:
        pdf="<results>/figures/training.pdf",
        png=report(
            "<results>/figures/training.png",
            caption="../report/training.rst",
            category="Figures",
            labels={"figure": "training", "shows": "Training loss of each method"},
        ),
    log:
        "<results>/logs/figure_training.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("figure_training"),
        key=key_of("figure_training"),
    message:
        "Draw the training curves"
    script:
        "../workflow_scripts/figure_training.py"


rule figure_attribution:
    input:
        unpack(needs_of("figure_attribution")),
    output:
        pdf="<results>/figures/attribution.pdf",
        png=report(
            "<results>/figures/attribution.png",
            caption="../report/attribution.rst",
            category="Figures",
            labels={"figure": "attribution", "shows": "Importance and frozen share of each layer"},
        ),
    log:
        "<results>/logs/figure_attribution.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("figure_attribution"),
        key=key_of("figure_attribution"),
    message:
        "Draw the importance and the frozen share of each layer"
    script:
        "../workflow_scripts/figure_attribution.py"
