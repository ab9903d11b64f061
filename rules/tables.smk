"""The paper's tables, and the table of classes."""


rule table_classes:
    input:
        thresholds=[
            f"results/difficulty/{settings.data.train}/x{{scale}}/{{split}}/thresholds.csv".format(**row)
            for row in class_rows()
        ],
    output:
        report(
            "results/tables/classes.csv",
            caption="../report/classes.rst",
            category="Difficulty",
        ),
    log:
        log_of("table_classes"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        rows=class_rows(),
        code=code("table_classes"),
    message:
        "Table of the classes"
    script:
        "../workflow_scripts/table_classes.py"


rule table_4:
    input:
        checked="results/data/checked.txt",
        evaluations=[evaluation_of(row) for row in table4_rows()],
        runs=[f"results/models/{RUN}.json".format(**run) for run in runs()],
    output:
        csv=report("results/tables/table4.csv", caption="../report/table4.rst", category="Comparison"),
        md="results/tables/table4.md",
        tex="results/tables/table4.tex",
    log:
        log_of("table_4"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        rows=table4_rows(),
        runs=runs(),
        code=code("table_4"),
    message:
        "Table 4: methods compared"
    script:
        "../workflow_scripts/table_4.py"
