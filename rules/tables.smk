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
            category="Tables",
            labels={"table": "classes", "shows": "Classes of difficulty"},
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


rule table:
    input:
        checked="results/data/checked.txt",
        evaluations=lambda w: [evaluation_of(row) for row in table_evaluations(settings.table(w.table))],
        runs=lambda w: [
            f"results/models/{RUN}.json".format(**run) for run in table_runs(settings.table(w.table))
        ],
    output:
        csv=report(
            "results/tables/{table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels=lambda w: {"table": w.table, "shows": settings.table(w.table).caption},
        ),
        md="results/tables/{table}.md",
        tex="results/tables/{table}.tex",
    log:
        log_of("table/{table}"),
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=table_settings,
        code=code("table"),
    message:
        "Table {wildcards.table}"
    script:
        "../workflow_scripts/table.py"
