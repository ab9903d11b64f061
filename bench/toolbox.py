"""The plain way: what super-resolution toolboxes do, in their words and with their settings.

As a program, a training stage of its own: python bench/toolbox.py PNGS PATCH STEPS CHECKPOINT THREADS
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from bspa.models.registry import build

MOST_WORKERS = 6  # BasicSR's and EDSR's own default


def imresize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Shrink (H, W, C) as the usual Python ports of MATLAB's do: gather, weigh and add in float64."""
    for axis in (0, 1):
        length = image.shape[axis]
        weights, indices = _contributions(length, math.ceil(length * scale), scale)
        gathered = np.take(image, indices, axis=axis).astype(np.float64)  # the taps behind the axis
        shape = [1] * gathered.ndim
        shape[axis : axis + 2] = weights.shape
        sums = (weights.reshape(shape) * gathered).sum(axis=axis + 1)
        image = np.floor(sums.clip(0, 255) + 0.5).astype(np.uint8)
    return image


def _contributions(length: int, shrunk: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    width = 4 / scale
    centres = (np.arange(1, shrunk + 1) / scale + 0.5 * (1 - 1 / scale))[:, None]
    indices = np.floor(centres - width / 2) + np.arange(math.ceil(width) + 2)
    distance = np.abs(scale * (centres - indices))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance <= 1, near, np.where(distance <= 2, far, 0))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    used = weights.any(axis=0)
    return weights[:, used], mirror[(indices.astype(np.int64) - 1) % len(mirror)][:, used]


def read_png(path: Path) -> NDArray[np.uint8]:
    """Decode a PNG to (h, w, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """Turn (h, w, 3) uint8 into (3, h, w) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 255)


class PngPairs(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of PNGs: each is decoded, cropped at random, flipped and turned into float32."""

    def __init__(self, folder: Path, patch: int, scale: int):
        self._folder, self._patch, self._scale = folder, patch, scale
        self._number = len(list(folder.glob("*_hr.png")))

    def __len__(self) -> int:
        return self._number

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Decode the files of a pair."""
        lr, hr = (read_png(self._folder / f"{index:06}_{kind}.png") for kind in ("lr", "hr"))
        return lr, hr

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        lr, hr = self.read(index)
        side = self._patch // self._scale
        top, left = (random.randrange(length - side + 1) for length in lr.shape[:2])
        lr = lr[top : top + side, left : left + side]
        top, left = top * self._scale, left * self._scale
        hr = hr[top : top + self._patch, left : left + self._patch]
        if random.random() < 0.5:
            lr, hr = lr[:, ::-1], hr[:, ::-1]
        if random.random() < 0.5:
            lr, hr = lr[::-1], hr[::-1]
        if random.random() < 0.5:
            lr, hr = lr.transpose(1, 0, 2), hr.transpose(1, 0, 2)
        return to_tensor(lr), to_tensor(hr)


def loader(
    folder: Path, *, patch: int, scale: int, batch: int, workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Decode in worker processes, without end."""
    data = PngPairs(folder, patch, scale)
    endless = RandomSampler(data, replacement=True, num_samples=10**9)
    return DataLoader(
        data,
        batch,
        sampler=endless,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork",  # Linux's default; the bench's own processes are spawned
    )


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: DataLoader[tuple[Tensor, Tensor]],
    device: torch.device,
) -> Generator[float, None, None]:
    """Take steps in float32; yield the loss of each, which the log wants."""
    model.train()
    for lr, hr in batches:
        lr, hr = lr.to(device, non_blocking=True), hr.to(device, non_blocking=True)
        optimiser.zero_grad()
        loss = nn.functional.l1_loss(model(lr), hr)
        loss.backward()
        optimiser.step()
        yield loss.item()


@torch.no_grad()
def score(model: nn.Module, folder: Path, index: int, device: torch.device) -> float:
    """Mean square error of one sub-image, from its PNGs."""
    lr, hr = (
        to_tensor(read_png(folder / f"{index:06}_{kind}.png"))[None].to(device) for kind in ("lr", "hr")
    )
    return nn.functional.mse_loss(model(lr).clamp(0, 1), hr).item()


def integrated_gradients(
    model: nn.Module,
    baseline: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    lr: Tensor,
    hr: Tensor,
    steps: int,
) -> dict[str, NDArray[np.float32]]:
    """Attribute as FAIG's authors do: image by image, gradients as arrays in memory."""
    sums = {name: np.zeros(value.shape, np.float32) for name, value in model.named_parameters()}
    for n in range(len(lr)):
        for step in range(steps):
            between = {
                name: value + step / steps * (target[name] - value) for name, value in baseline.items()
            }
            model.load_state_dict(between)
            model.zero_grad()
            nn.functional.l1_loss(model(lr[n : n + 1]), hr[n : n + 1]).backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    sums[name] += parameter.grad.cpu().numpy() / (steps * len(lr))
    return {name: total * (target[name] - baseline[name]).cpu().numpy() for name, total in sums.items()}


@torch.no_grad()
def evaluate(
    model: nn.Module, folder: Path, index: int, border: int, device: torch.device
) -> tuple[float, float]:
    """PSNR and SSIM on Y of one image, from its PNGs; scikit-image's SSIM."""
    lr, hr = (read_png(folder / f"{index:06}_{kind}.png") for kind in ("lr", "hr"))
    output = model(to_tensor(lr)[None].to(device))[0].clamp(0, 1).mul(255).round()
    sr = output.permute(1, 2, 0).byte().cpu().numpy()
    inside = slice(border, -border)
    x, y = (image[inside, inside] @ np.array([65.481, 128.553, 24.966]) / 255 + 16 for image in (sr, hr))
    psnr = 10 * np.log10(255**2 / np.mean((x - y) ** 2))
    ssim = structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, truncate=3.5, use_sample_covariance=False
    )
    return float(psnr), float(ssim)


def main(pngs: str, patch: str, steps: str, checkpoint: str, threads: str) -> None:
    """Train FSRCNN x4 from a checkpoint, if there is one, to the next; print the seconds of a late step."""
    torch.set_num_threads(int(threads))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build("fsrcnn", 4).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-4)
    file = Path(checkpoint)
    if file.exists():
        state = torch.load(file, map_location=device)
        model.load_state_dict(state["params"])
        optimiser.load_state_dict(state["optimizer"])
    workers = min(MOST_WORKERS, int(threads))
    batches = loader(Path(pngs), patch=int(patch), scale=4, batch=16, workers=workers)
    losses = train(model, optimiser, batches, device)
    marks = [time.perf_counter() for _ in zip(range(int(steps)), losses, strict=False)]
    torch.save({"params": model.state_dict(), "optimizer": optimiser.state_dict()}, file)
    half = len(marks) // 2
    print(json.dumps((marks[-1] - marks[half]) / max(1, len(marks) - 1 - half)))


if __name__ == "__main__":
    main(*sys.argv[1:])
