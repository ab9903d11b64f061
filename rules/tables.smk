"""The paper's tables, and the table of classes."""


rule table_classes:
    input:
        unpack(needs_of("table_classes")),
    output:
        csv="<results>/tables/classes.csv",
        json="<results>/tables/classes.json",
        html=report(
            "<results>/tables/classes.html",
            caption="../report/classes.rst",
            category="Tables",
            labels={"table": "classes", "shows": "Classes of difficulty"},
        ),
    log:
        "<results>/logs/table_classes.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("table_classes"),
        key=key_of("table_classes"),
        origin=origin_of("table_classes"),
    message:
        "Write the table of classes"
    script:
        "../workflow_scripts/table_classes.py"


rule table:
    input:
        checked="<results>/data/checked.txt",
        evaluations=needed("table", "evaluations"),
        runs=needed("table", "runs", ".json"),
    output:
        csv="<results>/tables/{table}.csv",
        json="<results>/tables/{table}.json",
        md="<results>/tables/{table}.md",
        tex="<results>/tables/{table}.tex",
        html=report(
            "<results>/tables/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels=lambda w: {"table": w.table, "shows": settings.tables[w.table].caption},
        ),
    log:
        "<results>/logs/table/{table}.log",
    conda:
        "../envs/bspa.yaml"
    threads: 1
    params:
        settings=settings_of("table"),
        key=key_of("table"),
        origin=origin_of("table"),
    message:
        "Write {wildcards.table}"
    script:
        "../workflow_scripts/table.py"
