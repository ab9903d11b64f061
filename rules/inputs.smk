"""What a job reads, where its wildcards alone do not say it; in the order of the chapters."""


def wanted(path):
    """Whether to ask for a result: a report shows what there is."""
    return "--report" not in sys.argv or Path(settings.results, path).exists()


def archive_of(wildcards):
    """The unpacked archive that a source lies in; other photographs count by content, in the key."""
    source = settings.sources[wildcards.source]
    return [f"<results>/data/archives/{source.archive}"] if source.kind == "archive" else []


def given(file):
    """A file of the user's; an address is no input."""
    return [] if "://" in file else [os.path.expanduser(file)]


def start_of(phase):
    """What a stage starts from: the previous snapshot, and the mask that holds in it; nothing for the first."""

    def files(wildcards):
        run, cycle = run_of(wildcards), int(wildcards.cycle)
        previous, mask = planned(plan.previous, run, cycle, phase), plan.mask_in(run, cycle, phase)
        found = {"previous": f"<results>/{previous.path}.safetensors"} if previous else {}
        return {**found, "mask": f"<results>/{plan.mask_path(run, mask)}.safetensors"} if mask else found

    return files


def kept_mask(wildcards):
    """With `update: cumulative`, the mask that the next one extends."""
    run = run_of(wildcards)
    kept = plan.kept_mask(run, int(wildcards.cycle))
    return {"keep": f"<results>/{plan.mask_path(run, kept)}.safetensors"} if kept else {}


def stage_paths(wildcards):
    """The stages of a run, in order."""
    return [stage.path for stage in planned(plan.stages, run_of(wildcards))]


def mask_paths(wildcards):
    """The masks of a run that a stage uses."""
    run = run_of(wildcards)
    return [plan.mask_path(run, cycle) for cycle in plan.used_masks(run)]


def niqe_model(wildcards):
    """NIQE's model, if the config asks for NIQE."""
    return {"niqe": "<results>/perceptual/niqe_model.npz"} if settings.perceptual.niqe else {}


def figure_weights(name):
    """The delivered weights of the runs that a figure shows."""
    return [f"<results>/models/{run.name}.safetensors" for run in planned(plan.figure_runs, name)]


def figure_scores(name, source):
    """The scores of a source's sub-images under the networks that a figure shows."""
    return [f"<results>/sub_image_scores/{run.name}/{source}.h5" for run in planned(plan.figure_runs, name)]
