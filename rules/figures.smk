"""The paper's figures."""


rule figure_1:
    input:
        scores=f"<results>/difficulty/{settings.data.train}/x{FIGURE_SCALE}/scores.h5",
        thresholds=f"<results>/difficulty/{settings.data.train}/x{FIGURE_SCALE}/{used_splits()[0]}/thresholds.csv",
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
        settings=plain(source=settings.data.train, scale=FIGURE_SCALE, split=used_splits()[0]),
        code=code("figure_1"),
    message:
        "Figure 1: the long tail of difficulty"
    script:
        "../workflow_scripts/figure_1.py"


rule figure_3:
    input:
        train_scores=lambda w: figure_scores("figure3", settings.data.train),
        validation_scores=lambda w: figure_scores("figure3", settings.data.validation),
        difficulty=f"<results>/difficulty/{settings.data.train}/x{FIGURE_SCALE}/scores.h5",
        validation_difficulty=f"<results>/difficulty/{settings.data.validation}/x{FIGURE_SCALE}/scores.h5",
        thresholds=lambda w: (
            f"<results>/difficulty/{settings.data.train}/x{FIGURE_SCALE}/{figure('figure3').class_split}/thresholds.csv"
        ),
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
        settings=lambda w: plain(
            figure_labels("figure3", settings.data.train),
            train=settings.data.train,
            validation=settings.data.validation,
        ),
        code=code("figure_3"),
    message:
        "Figure 3: PSNR of each class of difficulty"
    script:
        "../workflow_scripts/figure_3.py"


rule figure_4:
    input:
        packed=f"<results>/data/{settings.data.validation}/x{FIGURE_SCALE}.h5",
        scores=lambda w: figure_scores("figure4", settings.data.validation),
        weights=lambda w: figure_weights("figure4"),
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
        gpu=1,
    params:
        settings=lambda w: plain(
            figure_labels("figure4", settings.data.validation),
            model=network(figure("figure4").model),
            scale=FIGURE_SCALE,
            size=grid(FIGURE_SCALE).size,
            count=figure("figure4").count,
            regions=[plain(region) for region in figure("figure4").regions],
            tile=settings.compute.tile,
        ),
        code=code("figure_4"),
    message:
        "Figure 4: super-resolved sub-images and their error"
    script:
        "../workflow_scripts/figure_4.py"


rule figure_5:
    input:
        scores=lambda w: figure_scores("figure5", settings.data.train),
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
        settings=lambda w: figure_labels("figure5", settings.data.train),
        code=code("figure_5"),
    message:
        "Figure 5: the sub-images' error before and after"
    script:
        "../workflow_scripts/figure_5.py"


rule figure_6:
    input:
        packed=[f"<results>/data/{name}/x{FIGURE_SCALE}.h5" for name in settings.data.benchmarks],
        weights=lambda w: figure_weights("figure6"),
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
        gpu=1,
    params:
        settings=lambda w: plain(
            figure_labels("figure6", ", ".join(settings.data.benchmarks)),
            model=network(figure("figure6").model),
            scale=FIGURE_SCALE,
            border=settings.data.border,
            benchmarks=list(settings.data.benchmarks),
            size=figure("figure6").size,
            count=figure("figure6").count,
            regions=shown_regions(),
            tile=settings.compute.tile,
        ),
        code=code("figure_6"),
    message:
        "Figure 6: regions compared across methods"
    script:
        "../workflow_scripts/figure_6.py"


rule figure_training:
    input:
        journals=lambda w: [f"{stage}.csv" for stage, _ in training_stages()],
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
        settings=lambda w: plain(
            journals=[plain(stage) for _, stage in training_stages()],
            scale=FIGURE_SCALE,
            seed=settings.seeds[0],
        ),
        code=code("figure_training"),
    message:
        "Training curves"
    script:
        "../workflow_scripts/figure_training.py"


rule figure_attribution:
    input:
        masks=lambda w: attribution_masks(),
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
        settings=lambda w: plain(
            label=figure_label("attribution", settings.data.train),
            model=network(figure("attribution").model),
            scale=FIGURE_SCALE,
        ),
        code=code("figure_attribution"),
    message:
        "Importance and frozen share of each layer"
    script:
        "../workflow_scripts/figure_attribution.py"
