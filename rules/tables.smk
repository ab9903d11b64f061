"""The paper's tables, and the table of classes."""


def used_splits():
    """The class splits of the recipes in the tables, the first recipe's first; `default` where none samples by class."""
    methods = [settings.methods[name] for name in settings.tables.table4.methods]
    used = dict.fromkeys(method.class_split for method in methods if method.sampling != "uniform")
    return list(used) or list(SPLITS)[:1]


def class_rows():
    return [{"scale": scale, "split": split} for scale in settings.scales for split in used_splits()]


def table4_rows():
    """One row of scores each: bicubic interpolation first, then every run, on every benchmark."""
    bicubic = [
        dict(scale=scale, model="bicubic", label="bicubic", method="bicubic", seed=0, benchmark=benchmark)
        for scale in settings.scales
        for benchmark in settings.data.benchmarks
    ]
    trained = [
        dict(
            run,
            label=settings.models[run["model"]].label or run["model"],
            method_label=settings.methods[run["method"]].label or run["method"],
            benchmark=benchmark,
        )
        for run in runs()
        for benchmark in settings.data.benchmarks
    ]
    return bicubic + trained


def evaluation_of(row):
    if row["model"] == "bicubic":
        return "results/evaluation/bicubic_x{scale}/{benchmark}.csv".format(**row)
    return f"results/evaluation/{RUN}/{{benchmark}}.csv".format(**row)


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
        evaluations=[evaluation_of(row) for row in table4_rows()],
        runs=[f"results/models/{RUN}.json".format(**run) for run in runs()],
    output:
        csv=report("results/tables/table4.csv", caption="../report/table4.rst", category="Comparison"),
        md="results/tables/table4.md",
        tex="results/tables/table4.tex",
    log:
        log_of("table_4"),
    threads: 1
    params:
        rows=table4_rows(),
        runs=runs(),
        code=code("table_4"),
    message:
        "Table 4: methods compared"
    script:
        "../workflow_scripts/table_4.py"
