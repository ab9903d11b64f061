"""The settings, as typed classes that fail when they are built. The help of each key is its docstring here.

The JSON schema for editors (schemas/config.schema.json) is generated from these classes, and config.yaml
shows every key with its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bspa.system.files import user_path

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Scale = Literal[2, 3, 4, 8]
ScaleKey = Literal["x2", "x3", "x4", "x8"]
Sampling = Literal["uniform", "inverse"]
PixelLoss = Literal["l1", "charbonnier", "mse", "l1_frequency"]
Metric = Literal["psnr", "ssim", "niqe", "lpips"]


def scale_key(scale: int) -> ScaleKey:
    """Return the key of a scale in the config."""
    return cast(ScaleKey, f"x{scale}")


class Section(BaseModel):
    """A part of the config: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class BuiltinSource(Section):
    """Photographs that ship inside scikit-image; nothing is downloaded."""

    kind: Literal["builtin"]
    photos: list[Name] = Field(min_length=1)
    """Names of the photographs, e.g. astronaut, chelsea, coffee."""


class FolderSource(Section):
    """A folder of your own photographs (PNG, JPEG, WebP, BMP, TIFF)."""

    kind: Literal["folder"]
    path: str
    """The folder; with given HR/LR pairs it may hold {scale}."""
    hr: str | None = None
    """File pattern of the photographs, e.g. "*_HR.png"; null takes every photograph in the folder."""
    lr: str | None = None
    """File pattern of given LR files, e.g. "*_LR.png" (may hold {scale}); null makes LR by imresize."""

    @model_validator(mode="after")
    def _pairs_need_both(self) -> FolderSource:
        if self.lr is not None and self.hr is None:
            raise ValueError("lr is given without hr; give both patterns, or neither")
        return self


class ArchiveSource(Section):
    """Photographs inside a downloaded archive."""

    kind: Literal["archive"]
    archive: Name
    """Which of `archives`."""
    folder: str = ""
    """Folder inside the archive; with given HR/LR pairs it may hold {scale}."""
    images: int | None = Field(default=None, ge=1)
    """How many photographs it holds, for `snakemake plan` before they are there; null: unknown."""
    hr: str | None = None
    """As in a folder source."""
    lr: str | None = None
    """As in a folder source."""


Source = Annotated[BuiltinSource | FolderSource | ArchiveSource, Field(discriminator="kind")]


class Archive(Section):
    """A file to download."""

    urls: list[str] = Field(min_length=1)
    """The official address first, then mirrors."""
    sha256: Sha256 | None = None
    """Digest of the file; null: not checked, the run prints what it saw."""
    size: int | None = Field(default=None, gt=0)
    """Bytes; null: not checked."""
    only: list[str] | None = None
    """Unpack only members that match one of these patterns; null: all."""


def _as_range(value: Any) -> Any:
    return [value, value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _in_order(value: list[float]) -> list[float]:
    if value[0] > value[1]:
        raise ValueError(f"{value} is not allowed; the lower end comes first: [{value[1]}, {value[0]}]")
    return value


Deviations = Annotated[
    list[Annotated[float, Field(ge=0, le=255)]],
    Field(min_length=2, max_length=2),
    BeforeValidator(_as_range, json_schema_input_type=float | list[float]),
    AfterValidator(_in_order),
]
Qualities = Annotated[
    list[Annotated[int, Field(ge=1, le=100)]],
    Field(min_length=2, max_length=2),
    BeforeValidator(_as_range, json_schema_input_type=int | list[int]),
    AfterValidator(_in_order),
]


class Blur(Section):
    """Gaussian blur of HR before it is made smaller."""

    sigma: Deviations
    """Standard deviation in HR pixels: one, or the two ends of a range to draw from, e.g. [0.2, 2.0]."""


class Noise(Section):
    """Gaussian noise on LR."""

    sigma: Deviations
    """Standard deviation, where white is 255: one, or the two ends of a range, e.g. [1, 10]."""


class Jpeg(Section):
    """JPEG compression of LR, with colours at half resolution (4:2:0)."""

    quality: Qualities
    """Quality, 1 to 100: one, or the two ends of a range, e.g. [30, 95]."""


class DegradationStep(Section):
    """One step: one of these keys."""

    blur: Blur | None = None
    """Gaussian blur of HR before it is made smaller; comes before the other steps."""
    noise: Noise | None = None
    """Gaussian noise on LR."""
    jpeg: Jpeg | None = None
    """JPEG compression of LR."""

    @model_validator(mode="after")
    def _one_key(self) -> DegradationStep:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "nothing"
            raise ValueError(f"a step is one of blur, noise and jpeg; this one has {found}")
        return self


def _blur_first(steps: list[DegradationStep]) -> list[DegradationStep]:
    names = ["blur" if step.blur else "other" for step in steps]
    if names != sorted(names):
        raise ValueError("blur works on HR, before noise and jpeg; list it first")
    return steps


class Data(Section):
    """What is trained and evaluated on, by names of `sources`."""

    train: Name
    """Training photographs."""
    validation: Name
    """Photographs whose sub-images are classified by the training thresholds."""
    benchmarks: list[Name] = Field(min_length=1)
    """Evaluated on whole images, in the order of the tables' columns."""
    border: Literal["clamp", "symmetric"] = "clamp"
    """Edge rule of imresize: clamp is MATLAB's own; symmetric for files of newer releases."""
    degradation: Annotated[list[DegradationStep], AfterValidator(_blur_first)] = []
    """Steps that degrade the LR images of training and validation, in this order; empty: bicubic LR alone."""
    degradation_seed: int = Field(default=0, ge=0)
    """What each image's degradation is drawn from, together with the scale and the content of its file."""
    degrade_benchmarks: bool = False
    """Whether the LR images of `benchmarks` are degraded too; false: they are bicubic."""


class SubImages(Section):
    """The grid of sub-images, in HR pixels."""

    size: int = Field(gt=0)
    """Side of a sub-image, and of the patches of uniform sampling."""
    step: int = Field(gt=0)
    """Distance between neighbours."""
    threshold: int = Field(ge=0)
    """A last window is added where more than this many pixels would be left over."""


class ClassSplit(Section):
    """How sub-images are split into classes of difficulty (Eq. 2)."""

    classes: int = Field(ge=2)
    """K."""
    imbalance: float = Field(ge=1)
    """The unbalanced factor N_1 / N_K."""


class PatchSelection(Section):
    """Which patches of each image SamplingAug trains on."""

    share: float = Field(default=0.1, gt=0, le=1)
    """p: the share of each image's patches, the worst interpolated ones, that are chosen from."""
    selection: Literal["greedy", "nms", "darts"] = "greedy"
    """greedy: all of them; nms: the hardest that overlap little; darts: random ones that overlap little."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Largest intersection over union of two chosen patches of an image, for nms and darts."""
    seed: int = Field(default=0, ge=0)
    """Of the random order of darts."""


class GivenFile(Section):
    """A file of your own."""

    file: str
    """Path or URL."""
    sha256: Sha256 | None = None
    """Digest of the file; null: not checked, the run prints what it saw."""


class Weights(GivenFile):
    """Given weights: a .safetensors, .pth or .pt file, ours or with the key names of the author's release."""


class Validation(Section):
    """PSNR on whole photographs while a network is trained."""

    source: Name
    """One of `sources`."""
    every: int = Field(default=10, ge=1)
    """Epochs between two measurements."""
    images: int | None = Field(default=None, ge=1)
    """Measure on the first n photographs only; null: on all."""
    previews: int = Field(default=0, ge=0)
    """Pictures at each measurement, of a region of so many photographs; this makes nothing run again."""
    allow_benchmark: bool = False
    """Whether the source may be one of `data.benchmarks` with `select: best`; tables then say that it was."""


class LearningRates(Section):
    """How the learning rate changes over the epochs of a run."""

    kind: Literal["step", "multistep", "cosine"] = "step"
    """step: halved every `halve_every`; multistep: times gamma at milestones; cosine: falls to final at T."""
    milestones: list[Annotated[int, Field(ge=1)]] = []
    """Of multistep: epochs after which the rate is multiplied by gamma, rising."""
    gamma: float = Field(default=0.5, gt=0, le=1)
    """Of multistep."""
    final: float = Field(default=0.0, ge=0)
    """Of cosine: the learning rate at the end."""
    warm_up: int = Field(default=0, ge=0)
    """Epochs over which the rate rises linearly from zero, step by step; of cosine, they precede the fall."""

    @model_validator(mode="after")
    def _milestones_are_those_of_multistep(self) -> LearningRates:
        if (self.kind == "multistep") != bool(self.milestones):
            raise ValueError(
                f"milestones is {self.milestones}, but kind is {self.kind}; kind: multistep needs epochs "
                "there, other kinds none"
            )
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {self.milestones} do not rise")
        return self


class Training(Section):
    """Optimisation (Section 4.1)."""

    epochs: int = Field(ge=1)
    """T; phases, decay and validation are counted in epochs."""
    batch: int = Field(ge=1)
    """Patches in a step."""
    repeat: int = Field(ge=1)
    """How often an epoch goes through the training images: its steps are ceil(images * repeat / batch)."""
    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps of the T epochs together, whatever the number of images; null: as `repeat` says."""
    loss: PixelLoss = "l1"
    """What training and attribution measure between output and HR, for recipes that name no loss."""
    optimiser: Literal["adam", "adamw"] = "adam"
    """adamw: Adam with decoupled weight decay."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Of adamw, for every parameter; null: 0.01, PyTorch's default."""
    learning_rate: float = Field(gt=0)
    """Of Adam."""
    halve_every: int = Field(ge=1)
    """Epochs after which the learning rate is halved, again and again, with schedule.kind: step."""
    schedule: LearningRates = LearningRates()
    """How the learning rate changes."""
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(default=[0.9, 0.999], min_length=2, max_length=2)
    """Of Adam."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Of Adam."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, e.g. 0.999; null: no average."""
    validation: Validation | None = None
    """Measure PSNR while training, for curves (Figure 7) and `select: best`; null: no."""
    select: Literal["last", "average", "best"] | None = None
    """Weights to deliver; best: of the highest validation PSNR; null: average if `ema` is set, else last."""

    @model_validator(mode="after")
    def _each_epoch_has_a_step(self) -> Training:
        if self.steps is not None and self.steps < self.epochs:
            raise ValueError(
                f"steps: {self.steps} is less than epochs: {self.epochs}; give as many steps or more, "
                "or fewer epochs"
            )
        return self

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Training:
        if self.weight_decay is not None and self.optimiser != "adamw":
            raise ValueError(
                f"weight_decay: {self.weight_decay} needs optimiser: adamw, but optimiser is {self.optimiser}"
            )
        if self.schedule.warm_up and self.schedule.warm_up >= self.epochs:
            raise ValueError(
                f"schedule.warm_up: {self.schedule.warm_up} takes all epochs: {self.epochs}; allowed: fewer"
            )
        return self

    @property
    def epoch_steps(self) -> int | None:
        """Steps of an epoch; None: as `repeat` and the number of images say."""
        return None if self.steps is None else self.steps // self.epochs

    @property
    def spare_steps(self) -> int:
        """Steps left over after the T epochs; they belong to the last one."""
        return 0 if self.steps is None else self.steps % self.epochs


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{text!r} is not allowed; one line of visible letters")
    return text


Label = Annotated[str, AfterValidator(_one_line)]


class Network(Section):
    """What every network has besides its architecture."""

    label: Label | None = None
    """Its name in tables; null: the key."""
    start: dict[ScaleKey, Weights] = {}
    """Weights that its runs start from, by scale, e.g. x4: {file: edsr_x4.pt}; else those of the seed."""
    training: dict[str, Any] = {}
    """Values of `training` that differ for this network."""
    devices: int = Field(default=1, ge=1)
    """GPUs, or processes on a CPU, that share each batch; divides `training.batch`. Attribution uses one."""


class FsrcnnOptions(Section):
    """FSRCNN(d, s, m)."""

    d: int = Field(default=56, gt=0)
    """Channels of feature extraction."""
    s: int = Field(default=12, gt=0)
    """Channels of mapping."""
    m: int = Field(default=4, gt=0)
    """Mapping layers."""
    value_range: Literal[1, 255] = 1
    """Largest value of the colours inside the network; the released code of the paper: 255."""
    initial: Literal["he", "torch", "kaiming_small"] = "he"
    """Initial weights: he (FSRCNN's paper), torch (PyTorch's; released code) or kaiming_small (ClassSR)."""


class Fsrcnn(Network):
    """FSRCNN, small."""

    arch: Literal["fsrcnn"]
    options: FsrcnnOptions = FsrcnnOptions()


class EdsrOptions(Section):
    """EDSR; the defaults are EDSR_baseline."""

    blocks: int = Field(default=16, gt=0)
    """Residual blocks."""
    channels: int = Field(default=64, gt=0)
    """Feature channels."""
    res_scale: float = Field(default=1.0, gt=0)
    """Residual scaling."""


class Edsr(Network):
    """EDSR, medium."""

    arch: Literal["edsr"]
    options: EdsrOptions = EdsrOptions()


class RcanOptions(Section):
    """RCAN; the defaults are the paper's."""

    groups: int = Field(default=10, gt=0)
    """Residual groups."""
    blocks: int = Field(default=20, gt=0)
    """Channel attention blocks in a group."""
    channels: int = Field(default=64, gt=0)
    """Feature channels."""
    reduction: int = Field(default=16, gt=0)
    """Channel attention narrows the channels by this factor."""

    @model_validator(mode="after")
    def _reduction_divides(self) -> RcanOptions:
        if self.channels % self.reduction:
            raise ValueError(f"reduction {self.reduction} does not divide channels {self.channels}")
        return self


class Rcan(Network):
    """RCAN, large."""

    arch: Literal["rcan"]
    options: RcanOptions = RcanOptions()


class MsrResNetOptions(Section):
    """MSRResNet; the defaults are BasicSR's."""

    blocks: int = Field(default=16, gt=0)
    """Residual blocks."""
    channels: int = Field(default=64, gt=0)
    """Feature channels."""


class MsrResNet(Network):
    """MSRResNet, the reference of difficulty."""

    arch: Literal["msrresnet"]
    options: MsrResNetOptions = MsrResNetOptions()


class SpandrelOptions(Section):
    """A network of spandrel; besides its name, the arguments of its class, without the scale."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Name of the architecture or of its class, e.g. SwinIR, SPAN, RealPLKSR, HAT."""


class Spandrel(Network):
    """A network of the package spandrel, e.g. SwinIR; needs the extra `spandrel`."""

    arch: Literal["spandrel"]
    options: SpandrelOptions


Model = Annotated[Fsrcnn | Edsr | Rcan | MsrResNet | Spandrel, Field(discriminator="arch")]


class Reference(Section):
    """The network that scores the difficulty (Section 3.2)."""

    model: Name
    """Which of `models`."""
    weights: dict[ScaleKey, Weights] = {}
    """Given weights by scale, e.g. x4: {file: msrresnet_x4.pth}; a scale without any is trained."""
    seed: int = Field(default=0, ge=0)
    """Of the training, where it is trained."""
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Sub-images scored at a time; auto: as many as suit the device."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of scoring; auto: bfloat16 where the hardware has it."""
    border: Literal[0, "scale"] = 0
    """HR pixels cut from each side of a sub-image before scoring; scale: as many as the scale (ClassSR)."""


class Attribution(Section):
    """The importance of weights and the mask (Section 3.3)."""

    criterion: Literal["ig", "taylor", "fisher", "snip", "magnitude", "change", "random"] = "ig"
    """What makes a weight important; ig: integrated gradients. The others are controls."""
    unit: Literal["weight", "filter"] = "weight"
    """weight (WIG) ranks single weights, filter (FIG) ranks 2-D kernels."""
    modules: list[Literal["conv", "linear"]] = Field(default=["conv"], min_length=1)
    """Layers whose weights are ranked: convolutions (conv), and those of transformers besides (linear)."""
    beta: float = Field(default=0.1, ge=0, le=1)
    """The share of frozen units is beta * e / T (Eq. 11)."""
    steps: int = Field(default=20, ge=1)
    """M, points on the path of ig (Eq. 10)."""
    riemann: Literal["left", "right"] = "left"
    """End of the path that the points of ig include: left (uniform), right (inverse; released code)."""
    batches: Annotated[int, Field(ge=1)] | Literal["epoch"] = 20
    """Uniformly sampled batches that the loss is taken on; epoch: as many as an epoch has (released code)."""
    aggregate: Literal["mean_loss", "each_batch"] = "mean_loss"
    """Size for the batches' mean loss, or sum of the sizes for each batch's (released code)."""
    freeze: Literal["most", "least"] = "most"
    """Which weights are frozen: the most important ones, or, as a control, the least important ones."""
    moments: Literal["fade", "keep"] = "fade"
    """Adam's moments of frozen weights: fade (their gradients are zeroed) or keep (released code)."""
    update: Literal["replace", "cumulative"] = "replace"
    """How the next mask joins the last: replace releases it, cumulative keeps and extends it."""
    phases: list[Sampling] = Field(default=["uniform", "inverse"], min_length=1)
    """Where the mask holds."""


class Method(Section):
    """A recipe: how a network is trained."""

    label: Label | None = None
    """Its name in tables; null: the key."""
    sampling: Literal["uniform", "inverse", "alternating", "informative"]
    """What is sampled; alternating: uniform and inverse by turns; informative: SamplingAug's patches."""
    loss: PixelLoss | Literal["uncertainty"] | None = None
    """Training loss; uncertainty: UDN's two steps, with sampling: uniform; null: as `training.loss` says."""
    class_split: Name = "default"
    """Which of `class_splits`, for inverse sampling."""
    patch_selection: Name = "default"
    """Which of `patch_selections`, for informative sampling."""
    image_order: Literal["independent", "shuffled"] = "independent"
    """How uniform and informative samples choose images; shuffled: each once before any comes again."""
    uniform_epochs: int = Field(default=50, ge=1)
    """Length of a uniform phase, for alternating."""
    inverse_epochs: int = Field(default=50, ge=1)
    """Length of an inverse phase, for alternating."""
    inverse_steps: int | None = Field(default=None, ge=1)
    """Length of an inverse phase in steps, instead of `inverse_epochs`; needs `count_inverse: false`."""
    count_inverse: bool = True
    """Whether inverse epochs count towards `epochs` and the learning rate's decay."""
    end: Literal["inverse", "uniform"] = "inverse"
    """Phase that an alternating run ends in; uniform: the last cycle has no inverse phase."""
    leave_out_last_epoch: bool = False
    """Whether epoch T is not trained, as in the loop of the released code."""
    uncertainty_epochs: int | None = Field(default=None, ge=1)
    """Length of UDN's first step, out of `epochs`; null: half of them."""
    restart_second_step: bool = False
    """Whether UDN's second step starts with a fresh Adam at the full learning rate, as its authors' does."""
    attribution: Attribution | None = None
    """Freeze important weights after each cycle; null: never."""
    match_steps: Name | None = None
    """Train as many steps as this other recipe takes."""
    stretch_schedule: bool = False
    """With match_steps: stretch the learning rates over all steps; false: added steps have the last."""
    match_seconds: Name | None = None
    """Train on after the last epoch until the run has taken as many device seconds as this other recipe's."""


class Table(Section):
    """A table: methods compared on networks, scales and benchmarks."""

    caption: str = ""
    """What it shows, for the report."""
    models: list[Name] = Field(min_length=1)
    """Rows, by names of `models`."""
    methods: list[Name] = Field(min_length=1)
    """Rows within a network, by names of `methods`; the others are compared with the first."""
    scales: list[Scale] | None = None
    """Groups of rows, as far as they are in `scales`; null: all."""
    benchmarks: list[Name] | None = None
    """Columns, as far as they are in `data.benchmarks`; null: all."""
    metrics: list[Metric] = Field(default=["psnr", "ssim"], min_length=1)
    """Scores in each column."""
    weights: Literal["last", "average", "best"] | None = None
    """Which weights of each run are scored; null: as `training.select` says."""
    paper: Annotated[int, Field(ge=1, le=6)] | None = None
    """The paper's table whose values stand beside ours, where names of rows and columns agree; null: none."""


class OfOneNetwork(Section):
    """A figure of one network."""

    model: Name
    """One of `models`."""


class ClassPsnr(OfOneNetwork):
    """Figure 3: PSNR on Y of each class of difficulty, by method."""

    methods: list[Name] = Field(min_length=2)
    """Out of `methods`; the others are compared with the first."""
    class_split: Name = "default"
    """Which of `class_splits`."""


class SubImageRegion(Section):
    """A sub-image of `data.validation`."""

    image: str
    """The photograph's id: its file name without suffix."""
    top: int = Field(ge=0)
    """HR pixels above it."""
    left: int = Field(ge=0)
    """HR pixels left of it."""


class ErrorMaps(OfOneNetwork):
    """Figure 4: SR and its error on sub-images of `data.validation`, for two methods."""

    methods: list[Name] = Field(min_length=2, max_length=2)
    """Out of `methods`."""
    count: int = Field(default=3, ge=1, le=8)
    """How many sub-images, where `regions` is empty: those where the methods differ most."""
    regions: list[SubImageRegion] = []
    """Named sub-images."""


class Histograms(OfOneNetwork):
    """Figure 5: the training sub-images' error, for two methods."""

    methods: list[Name] = Field(min_length=2, max_length=2)
    """Out of `methods`: before and after."""


class Region(SubImageRegion):
    """A part of a benchmark's photograph."""

    benchmark: Name
    """One of `sources`; a region is shown if it is in `data.benchmarks`."""


class Crops(OfOneNetwork):
    """Figure 6: regions of benchmark photographs, compared across methods."""

    methods: list[Name] = Field(min_length=1)
    """Out of `methods`, after HR and bicubic interpolation."""
    size: int = Field(default=64, ge=16)
    """Side of a region in HR pixels."""
    count: int = Field(default=2, ge=1, le=8)
    """How many regions, where `regions` is empty: those that bicubic interpolation does worst."""
    regions: list[Region] = []
    """Named regions."""


class TrainingCurves(Section):
    """The training loss of each method, a panel for each network."""

    models: list[Name] = Field(min_length=1)
    """Out of `models`."""
    methods: list[Name] = Field(min_length=1)
    """Out of `methods`."""


class ValidationCurves(TrainingCurves):
    """Figure 7: PSNR against optimiser steps and device seconds, all seeds; needs `training.validation`."""


class AttributionMaps(OfOneNetwork):
    """Importance and frozen share of each layer, cycle by cycle."""

    method: Name
    """One of `methods`, with attribution."""


class Figures(Section):
    """What the figures show, at the largest of `scales` and the first of `seeds`; null: no such figure.

    Figure 7 shows all seeds.
    """

    figure3: ClassPsnr | None = None
    figure4: ErrorMaps | None = None
    figure5: Histograms | None = None
    figure6: Crops | None = None
    figure7: ValidationCurves | None = None
    training: TrainingCurves | None = None
    attribution: AttributionMaps | None = None


class PristineModel(GivenFile):
    """NIQE's model of good photographs: BasicSR's niqe_pris_params.npz."""


class Perceptual(Section):
    """What NIQE and LPIPS need."""

    niqe: PristineModel | None = None
    """The pristine model; null: NIQE is not computed, and tables say so."""


class Compute(Section):
    """Where and how to compute. Only `precision` and `tile` can change results and make jobs run again."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """auto (CUDA where there is one, else the CPU), cpu, cuda or cuda:N."""
    jobs_per_gpu: int = Field(default=1, ge=1)
    """Jobs that may share a GPU; small networks leave most of one idle. Also say `--resources gpu=N`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of training; auto: FSRCNN in float32, others in bfloat16 where the hardware has it."""
    threads: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """CPU threads of a heavy job; auto: the real cores, divided among the GPUs for jobs that use one."""
    save_every_seconds: float = Field(default=60.0, gt=0)
    """How often a stage in progress saves its state."""
    tile: Annotated[int, Field(ge=16)] | Literal["auto"] = "auto"
    """Side of the tiles of inference in LR pixels; auto: the whole image while it fits."""


def _results_folder(path: str) -> str:
    if set("{}<>*") & set(path) or not path.isprintable():
        raise ValueError(
            f"{path!r} is not allowed; a folder's name without {{ }} < > * and control characters"
        )
    return str(user_path(path))


class Config(Section):
    """The whole config."""

    scales: list[Scale] = Field(min_length=1)
    """Scale factors: 2, 3, 4, 8."""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """One training run for each; the tables give means and standard deviations."""
    results: Annotated[str, AfterValidator(_results_folder)] = Field(default="results", min_length=1)
    """Folder of everything that is made. Give configs that share a checkout folders of their own."""
    archives: dict[Name, Archive] = {}
    """Files to download, by name."""
    sources: dict[Name, Source]
    """Sets of photographs, by name."""
    data: Data
    """Which sources are used for what."""
    sub_images: dict[ScaleKey, SubImages]
    """The grid of sub-images, by scale."""
    class_splits: dict[Name, ClassSplit]
    """Ways to split sub-images into classes, by name; methods choose one."""
    shards: Literal["pixels", "windows"] = "windows"
    """What the files of the classes hold: the sub-images, or where they lie; training is the same."""
    models: dict[Name, Model]
    """Networks, by name."""
    patch_selections: dict[Name, PatchSelection] = {}
    """Ways to choose SamplingAug's patches, by name; methods choose one."""
    reference: Reference
    """The network that scores the difficulty."""
    training: Training
    """Optimisation, for every network that does not say otherwise."""
    methods: dict[Name, Method]
    """Recipes, by name; `extends: NAME` starts from another recipe's values."""
    tables: dict[Name, Table | None]
    """Tables by name, each a file results/tables/NAME.csv; null: no such table."""
    figures: Figures = Figures()
    """What the figures show."""
    perceptual: Perceptual = Perceptual()
    """What NIQE and LPIPS need."""
    compute: Compute = Compute()
    """Where and how to compute."""

    @model_validator(mode="before")
    @classmethod
    def _resolve_extends(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("methods"), dict):
            return {**values, "methods": resolve_extends(values["methods"])}
        return values

    def training_of(self, model: str) -> Training:
        """Return the training values of a network, its own over the common ones."""
        return Training(**{**self.training.model_dump(), **self.models[model].training})


def resolve_extends(methods: Mapping[str, Any]) -> dict[str, Any]:
    """Merge each recipe over the one it extends; nested sections merge key by key, null removes one.

    Raises:
        ValueError: a recipe extends an unknown one, or itself.
    """

    def resolve(name: str, path: tuple[str, ...] = ()) -> Any:
        method, path = methods[name], (*path, name)
        if not isinstance(method, dict) or "extends" not in method:
            return method
        base = method["extends"]
        if not isinstance(base, str) or base not in methods:
            raise ValueError(f"methods.{name}.extends: {base!r} is not one of {', '.join(methods)}")
        if base in path:
            raise ValueError(f"methods.{name}.extends: {' -> '.join((*path, base))} goes in a circle")
        inherited = resolve(base, path)
        own = {key: value for key, value in method.items() if key != "extends"}
        # A label names one recipe in the tables; a recipe that extends it needs its own.
        return _merge({**inherited, "label": None}, own) if isinstance(inherited, dict) else own

    return {name: resolve(name) for name in methods}


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = {key for key, value in own.items() if isinstance(value, dict) and isinstance(base.get(key), dict)}
    return {**base, **own, **{key: _merge(base[key], own[key]) for key in both}}
