"""LPIPS by stand-ins for the packages that compute it, and by the packages themselves where they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bspa.metrics.borders import UnmeasurableError
from bspa.metrics.catalogue import LPIPS_PACKAGES, lpips_available
from bspa.metrics.lpips import load_lpips, lpips_alex
from tests.support.noise import noise

CPU = "cpu"

TORCHVISION = """
class models:
    class AlexNet_Weights:
        class IMAGENET1K_V1:
            url = {url!r}
"""

# Not symmetric, so that exchanged images are seen; takes what torchmetrics takes, loads weights as it does.
TORCHMETRICS = """
import torch
from torchvision import models

class LearnedPerceptualImagePatchSimilarity(torch.nn.Module):
    made = 0

    def __init__(self, net_type, reduction, normalize):
        super().__init__()
        assert (net_type, reduction, normalize) == ("alex", "mean", False)
        url = models.AlexNet_Weights.IMAGENET1K_V1.url
        self.register_buffer("factor", torch.hub.load_state_dict_from_url(url, progress=False)["factor"])
        type(self).made += 1
        self.scores = []

    def update(self, img1, img2):
        for image in (img1, img2):
            assert image.dtype == torch.float32 and image.shape[:2] == (1, 3)
            assert -1 <= image.min() and image.max() <= 1
        self.scores.append((self.factor * img1 - img2).mean())

    def compute(self):
        return torch.stack(self.scores).mean()

    def reset(self):
        self.scores = []
"""


def forget_packages() -> None:
    load_lpips.cache_clear()
    for name in list(sys.modules):
        if name.split(".")[0] in LPIPS_PACKAGES:
            del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put stand-ins on the path, torchvision with a given source; torch keeps weights in tmp_path."""
    forget_packages()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def install(torchvision: str) -> None:
        for name, source in {
            "torchvision/__init__.py": torchvision,
            "torchmetrics/__init__.py": "",
            "torchmetrics/image/__init__.py": "",
            "torchmetrics/image/lpip.py": TORCHMETRICS,
        }.items():
            path = tmp_path / "packages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        monkeypatch.syspath_prepend(tmp_path / "packages")

    yield install
    forget_packages()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "server" / "alexnet-stand-in.pth"
    path.parent.mkdir()
    torch.save({"factor": torch.tensor(2.0)}, path)
    return path


def test_what_the_network_is_given(install: Callable[[str], None], weights: Path) -> None:
    install(TORCHVISION.format(url=weights.as_uri()))
    assert lpips_available()
    sr, hr = noise(40, 45, 0), noise(40, 45, 1)
    sr[10, 10], sr[10, 11] = 0, 255
    inside = np.s_[3:-3, 3:-3]
    expected = 2 * (sr[inside] / 127.5 - 1).mean() - (hr[inside] / 127.5 - 1).mean()
    assert lpips_alex(sr, hr, 3, CPU) == pytest.approx(expected, abs=1e-6)


def test_images_are_scored_one_by_one_with_one_network(install: Callable[[str], None], weights: Path) -> None:
    install(TORCHVISION.format(url=weights.as_uri()))
    pairs = [(noise(40, 45, seed), noise(40, 45, seed + 10)) for seed in range(3)]
    first = [lpips_alex(*pair, 2, CPU) for pair in pairs]
    assert [lpips_alex(*pair, 2, CPU) for pair in reversed(pairs)] == first[::-1]
    assert len(set(first)) == 3
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    assert LearnedPerceptualImagePatchSimilarity.made == 1


@pytest.mark.parametrize(
    ("sr", "hr", "border", "error", "message"),
    [
        (noise(40, 40), noise(40, 41), 2, ValueError, "sr is 40x40, hr is 40x41"),
        (noise(40, 40) / 255.0, noise(40, 40), 2, ValueError, "sr: an array of float64"),
        (noise(40, 34), noise(40, 34), 2, UnmeasurableError, r"40x34 .* 31x31"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    install: Callable[[str], None],
    weights: Path,
    sr: np.ndarray,
    hr: np.ndarray,
    border: int,
    error: type[ValueError],
    message: str,
) -> None:
    install(TORCHVISION.format(url=weights.as_uri()))
    with pytest.raises(error, match=message):
        lpips_alex(sr, hr, border, CPU)


def test_weights_that_cannot_be_downloaded(
    install: Callable[[str], None], weights: Path, tmp_path: Path
) -> None:
    url = weights.as_uri()
    weights.rename(tmp_path / "by-hand.pth")
    install(TORCHVISION.format(url=url))
    place = tmp_path / "torch" / "hub" / "checkpoints" / "alexnet-stand-in.pth"
    with pytest.raises(ValueError, match="AlexNet") as caught:
        load_lpips(CPU)
    assert all(text in str(caught.value) for text in (url, str(place), "TORCH_HOME"))
    (tmp_path / "by-hand.pth").rename(place)
    sr = noise(40, 40)
    assert lpips_alex(sr, sr, 2, CPU) == pytest.approx((sr[2:-2, 2:-2] / 127.5 - 1).mean(), abs=1e-6)


def test_weights_that_are_damaged(install: Callable[[str], None], weights: Path, tmp_path: Path) -> None:
    install(TORCHVISION.format(url=weights.as_uri()))
    place = tmp_path / "torch" / "hub" / "checkpoints" / "alexnet-stand-in.pth"
    place.parent.mkdir(parents=True)
    for content in (b"", b"not weights", weights.read_bytes()[:300]):
        place.write_bytes(content)
        with pytest.raises(ValueError, match="AlexNet") as caught:
            load_lpips(CPU)
        assert f"{place} is damaged" in str(caught.value)


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    load_lpips.cache_clear()
    for missing in LPIPS_PACKAGES:
        with monkeypatch.context() as patch:
            patch.setattr("bspa.metrics.catalogue.find_spec", lambda name, gone=missing: name != gone or None)
            assert not lpips_available()
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(ValueError, match=rf"{missing}.* '\.\[perceptual\]'"):
                lpips_alex(noise(40, 40), noise(40, 40), 2, CPU)


def test_a_torchvision_of_another_torch(install: Callable[[str], None]) -> None:
    install("raise RuntimeError('operator torchvision::nms does not exist')")
    assert lpips_available()
    with pytest.raises(ValueError, match=r"nms does not exist.*torch \d"):
        load_lpips(CPU)


@pytest.fixture
def real_torchvision() -> tuple[Any, dict[str, torch.Tensor]]:
    forget_packages()
    try:
        import torchmetrics.image.lpip
        import torchvision
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"the extra `perceptual` cannot be imported: {error}")
    name = Path(torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url).name
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if not path.exists():
        pytest.skip(f"the weights of AlexNet are not at {path}, and tests do not download")
    linear = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    return torchvision, torch.load(linear, map_location="cpu", weights_only=True)


def test_the_distance_is_that_of_the_paper(real_torchvision: Any) -> None:
    """Eq. 1 of Zhang et al. on AlexNet's features after each ReLU, with the released linear weights."""
    torchvision, linear = real_torchvision
    layers = torchvision.models.alexnet(weights="IMAGENET1K_V1").features.eval()
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[..., None, None]
    hr = noise(70, 80).repeat(2, axis=0).repeat(2, axis=1)
    scores = []
    for strength in (0, 8, 40):
        error = np.random.default_rng(1).normal(scale=strength, size=hr.shape)
        sr = np.clip(hr + error, 0, 255).astype(np.uint8)
        both = torch.from_numpy(np.stack([sr, hr])[:, 4:-4, 4:-4]).permute(0, 3, 1, 2) / 127.5 - 1
        features = ((both - shift) / scale).float()
        distance = 0.0
        with torch.no_grad():
            for index, layer in enumerate(layers[:12]):
                features = layer(features)
                if isinstance(layer, torch.nn.ReLU):
                    unit = features / (features.norm(dim=1, keepdim=True) + 1e-10)
                    weights = linear[f"lin{(1, 4, 7, 9, 11).index(index)}.model.1.weight"]
                    distance += float((weights[0] * (unit[0] - unit[1]) ** 2).sum(dim=0).mean())
        scores.append(lpips_alex(sr, hr, 4, CPU))
        assert scores[-1] == pytest.approx(distance, rel=1e-4, abs=1e-7)
    assert scores[0] == 0
    assert scores == sorted(set(scores))
