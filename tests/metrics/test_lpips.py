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
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Put stand-ins on the path and weights on a "server"; torch keeps its copy in tmp_path."""
    forget_packages()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights = tmp_path / "server" / "alexnet-stand-in.pth"

    def install(torchvision: str = TORCHVISION.format(url=weights.as_uri())) -> Path:
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
        weights.parent.mkdir()
        torch.save({"factor": torch.tensor(2.0)}, weights)
        return weights

    yield install
    forget_packages()


def test_images_are_scored_one_by_one_with_one_network(install: Callable[..., Path]) -> None:
    install()
    assert lpips_available()
    inside, pairs = np.s_[3:-3, 3:-3], [(noise(40, 45, seed), noise(40, 45, seed + 10)) for seed in range(3)]
    expected = [2 * (sr[inside] / 127.5 - 1).mean() - (hr[inside] / 127.5 - 1).mean() for sr, hr in pairs]
    assert [lpips_alex(*pair, 3, CPU) for pair in pairs] == pytest.approx(expected, abs=1e-6)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    assert LearnedPerceptualImagePatchSimilarity.made == 1


def test_an_image_too_small_for_the_network(install: Callable[..., Path]) -> None:
    install()
    image = noise(40, 34)
    with pytest.raises(UnmeasurableError, match=r"40x34 .* 31x31"):
        lpips_alex(image, image, 2, CPU)


def test_weights_that_cannot_be_downloaded(install: Callable[..., Path], tmp_path: Path) -> None:
    weights = install()
    by_hand = weights.rename(tmp_path / "by-hand.pth")
    place = tmp_path / "torch" / "hub" / "checkpoints" / weights.name
    with pytest.raises(ValueError, match="AlexNet") as caught:
        load_lpips(CPU)
    assert all(text in str(caught.value) for text in (weights.as_uri(), str(place), "TORCH_HOME"))
    content = by_hand.read_bytes()
    for damaged in (b"", b"not weights", content[:300]):
        place.write_bytes(damaged)
        with pytest.raises(ValueError, match="AlexNet") as caught:
            load_lpips(CPU)
        assert f"{place} is damaged" in str(caught.value)
    place.write_bytes(content)
    assert load_lpips(CPU).factor == 2


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    load_lpips.cache_clear()
    for missing in LPIPS_PACKAGES:
        with monkeypatch.context() as patch:
            patch.setattr("bspa.metrics.catalogue.find_spec", lambda name, gone=missing: name != gone or None)
            assert not lpips_available()
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(ValueError, match=rf"{missing}.* '\.\[perceptual\]'"):
                lpips_alex(noise(40, 40), noise(40, 40), 2, CPU)


def test_a_torchvision_of_another_torch(install: Callable[..., Path]) -> None:
    install("raise RuntimeError('operator torchvision::nms does not exist')")
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
