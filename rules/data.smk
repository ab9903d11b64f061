"""Photographs to packed HR and LR images and windows of sub-images (Section 4.1)."""

USED_SOURCES = sorted({settings.data.train, settings.data.validation, *settings.data.benchmarks})


def source_values(wildcards):
    """The source for the script; an archive's becomes the folder it is unpacked to."""
    source = settings.sources[wildcards.source]
    if source.kind != "archive":
        return plain(source)
    folder = Path("results/data/archives", source.archive, source.folder)
    return plain(kind="folder", path=str(folder), hr=source.hr, lr=source.lr)


def source_files(wildcards):
    """The photographs of a folder, so that a new, changed or missing one is noticed."""
    source = settings.sources[wildcards.source]
    if source.kind == "archive":
        return [f"results/data/archives/{source.archive}"]
    if source.kind == "builtin":
        return []
    folders = [Path(source.path.replace("{scale}", str(scale))).expanduser() for scale in settings.scales]
    nested = any("/" in pattern for pattern in (source.hr, source.lr) if pattern)
    files = {file for folder in folders for file in (folder.rglob("*") if nested else folder.glob("*"))}
    # What is no plain file is left for make_manifest to complain about; Snakemake cannot name files with braces.
    return sorted(
        str(file)
        for file in files
        if file.is_file() and not file.name.startswith(".") and not {"{", "}"} & set(str(file))
    )


def minimum_side(wildcards):
    """The smallest image that every use of the source can work with, and why."""
    sides = []
    name = wildcards.source
    if name in (settings.data.train, settings.data.validation):
        sides += [(grid(scale).size, f"sub-images of {grid(scale).size} pixels") for scale in settings.scales]
    if name in settings.data.benchmarks:
        scale = max(settings.scales)
        sides.append((11 + 2 * scale, f"SSIM's window of 11 pixels inside a cut border of {scale}"))
    return max(sides)


def manifest_settings(wildcards):
    side, reason = minimum_side(wildcards)
    return plain(
        source=source_values(wildcards),
        scales=list(settings.scales),
        minimum_side=side,
        minimum_side_reason=reason,
    )


rule fetch_archive:
    output:
        directory("results/data/archives/{archive}"),
    log:
        log_of("fetch_archive/{archive}"),
    benchmark:
        benchmark_of("fetch_archive/{archive}")
    threads: 1
    priority: 100
    params:
        # No digest of the code: an edit to the downloader is no reason to download gigabytes again.
        archive=lambda w: plain(settings.archives[w.archive]),
        state="results/.state/archives/{archive}",
    message:
        "Downloading and unpacking {wildcards.archive}"
    script:
        "../workflow_scripts/fetch_archive.py"


rule make_manifest:
    input:
        source_files,
    output:
        "results/data/{source}/manifest.csv",
    log:
        log_of("make_manifest/{source}"),
    benchmark:
        benchmark_of("make_manifest/{source}")
    threads: THREADS
    priority: 100
    params:
        settings=manifest_settings,
        code=code("make_manifest"),
    message:
        "Looking through the photographs of {wildcards.source}"
    script:
        "../workflow_scripts/make_manifest.py"


# Every image of every source is decoded and checked before anything is made of any. The result is asked for
# as ancient(): a new benchmark is checked, and nothing that was made before is made again for it.
rule check_data:
    input:
        manifests=expand("results/data/{source}/manifest.csv", source=USED_SOURCES),
    output:
        "results/data/checked.txt",
    log:
        log_of("check_data"),
    threads: 1
    priority: 100
    params:
        settings=plain(
            sources=USED_SOURCES,
            train=settings.data.train,
            benchmarks=list(settings.data.benchmarks),
            grids={scale: plain(grid(scale)) for scale in sorted(settings.scales)},
            classes={name: split.classes for name, split in sorted(SPLITS.items())},
        ),
        code=code("check_data"),
    message:
        "Checking that every source is fit for its use"
    script:
        "../workflow_scripts/check_data.py"


rule pack_images:
    input:
        checked=ancient("results/data/checked.txt"),
        manifest="results/data/{source}/manifest.csv",
    output:
        "results/data/{source}/x{scale}.h5",
    log:
        log_of("pack_images/{source}_x{scale}"),
    benchmark:
        benchmark_of("pack_images/{source}_x{scale}")
    threads: THREADS
    params:
        settings=lambda w: plain(scale=int(w.scale), border=settings.data.border),
        code=code("pack_images"),
    message:
        "Packing HR and x{wildcards.scale} LR images of {wildcards.source}"
    script:
        "../workflow_scripts/pack_images.py"


rule crop_sub_images:
    input:
        packed="results/data/{source}/x{scale}.h5",
    output:
        "results/sub_images/{source}/x{scale}.h5",
    log:
        log_of("crop_sub_images/{source}_x{scale}"),
    threads: 1
    params:
        settings=lambda w: plain(grid(w.scale)),
        code=code("crop_sub_images"),
    message:
        "Laying the grid of sub-images over {wildcards.source} x{wildcards.scale}"
    script:
        "../workflow_scripts/crop_sub_images.py"
