"""Train the U-Net of the photo prior as an EDM denoiser, within a budget of wall-clock hours."""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from evaluate import (
    channels_last,
    denoiser,
    denoising_psnr,
    read,
    read_images,
    select,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reddiff.priors import UNet
from reddiff.priors.parametric import edm_coefficients

COLUMNS = ["hours", "step", "images", "lr", "loss", "psnr25", "psnr50", "psnr100"]


class Data:
    """Batches of whole scenes and of crops of photos, flipped and turned at random.

    A batch has one patch size, drawn from those given, and as many pixels as `size` scenes have;
    only batches of the scenes' own size contain scenes. Photos are drawn with probability
    proportional to the root of their number of pixels.
    """

    def __init__(self, cache: Path, patches: list[int], scenes: float) -> None:
        tensors = load_file(cache)
        self.pixels, index = tensors["pixels"], tensors["index"]
        whole = index[:, 3] == 1
        self.scenes, self.photos = index[whole].tolist(), index[~whole].tolist()
        self.side = self.scenes[0][1] if self.scenes else patches[0]
        self.patches, self.fraction = patches, scenes if self.scenes else 0.0
        area, short = index[~whole, 1] * index[~whole, 2], index[~whole, 1:3].amin(dim=1)
        self.weights = {patch: area.double().sqrt() * (short >= patch) for patch in patches}

    def crop(self, entry: list[int], patch: int) -> Tensor:
        """(patch, patch, 3) bytes: a whole scene, maybe flipped, or a crop, turned as well."""
        offset, height, width, whole = entry
        end = offset + 3 * height * width
        image = self.pixels[offset:end].view(height, width, 3)
        if not whole:
            top = int(torch.randint(height - patch + 1, ()))
            left = int(torch.randint(width - patch + 1, ()))
            image = image[top : top + patch, left : left + patch]
            image = image.rot90(int(torch.randint(4, ())))
        return image.flip(1) if torch.rand(()) < 0.5 else image

    def batch(self, size: int) -> Tensor:
        """(b, 3, patch, patch) in [-1, 1], stored channels last; scenes come first."""
        patch = self.patches[int(torch.randint(len(self.patches), ()))]
        size = max(round(size * (self.side / patch) ** 2), 1)
        count = int(self.fraction * size + float(torch.rand(()))) if patch == self.side else 0
        entries = [self.scenes[int(torch.randint(len(self.scenes), ()))] for _ in range(count)]
        if count < size:
            chosen = torch.multinomial(self.weights[patch], size - count, replacement=True)
            entries += [self.photos[i] for i in chosen.tolist()]
        stack = torch.stack([self.crop(entry, patch) for entry in entries])
        return stack.permute(0, 3, 1, 2) / 127.5 - 1


def draw_sigma(size: int, mean: float, std: float, wide: float) -> Tensor:
    """Stratified noise levels: log-normal, or with probability `wide` log-uniform in 0.002..80."""
    u = ((torch.arange(size) + torch.rand(size)) / size)[torch.randperm(size)]
    normal = mean + std * math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.99999, 0.99999))
    uniform = math.log(0.002) + u * math.log(80 / 0.002)
    return torch.where(torch.rand(size) < wide, uniform, normal).exp().clamp(0.002, 80)


def edm_loss(net: nn.Module, x: Tensor, sigma: Tensor) -> Tensor:
    """EDM's loss, whose weights make it the plain squared error of the raw network."""
    level = sigma[:, None, None, None]
    c_skip, c_out, c_in, c_noise = edm_coefficients(level)
    noisy = x + level * torch.randn_like(x)
    target = (x - c_skip * noisy) / c_out
    with torch.autocast(x.device.type, torch.bfloat16):
        raw = net(c_in * noisy, c_noise.flatten())
    loss: Tensor = (raw.float() - target).square().mean()
    return loss


class Optimizer:
    """Muon for the inner convolutions, each seen as a matrix, and Adam for the rest.

    torch.optim.Muon takes matrices only. Each matrix here, (out, height * width * in), is a second
    parameter on the memory of the convolution's weight, which must be channels last.
    """

    def __init__(self, net: UNet, lr: float, muon: bool) -> None:
        inner = (nn.Conv2d, nn.ConvTranspose2d) if muon else ()
        outer = (net.head, net.tail)
        self.convs = [m.weight for m in net.modules() if isinstance(m, inner) and m not in outer]
        self.matrices = [nn.Parameter(self.matrix(w.detach())) for w in self.convs]
        ids = {id(weight) for weight in self.convs}
        rest = [p for p in net.parameters() if id(p) not in ids]
        self.parts: dict[str, torch.optim.Optimizer] = {
            "adam": torch.optim.Adam(rest, lr=lr, betas=(0.9, 0.99))
        }
        if self.matrices:
            self.parts["muon"] = torch.optim.Muon(
                self.matrices, lr=lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            )

    @staticmethod
    def matrix(weight: Tensor) -> Tensor:
        """The weight as a matrix, without a copy."""
        return weight.permute(0, 2, 3, 1).flatten(1)

    def step(self, rate: float) -> None:
        """One update; Adam goes at a third of the learning rate of Muon, for stability."""
        for weight, matrix in zip(self.convs, self.matrices, strict=True):
            assert weight.grad is not None and weight.data_ptr() == matrix.data_ptr()
            matrix.grad = self.matrix(weight.grad)
        for name, part in self.parts.items():
            for group in part.param_groups:
                group["lr"] = rate / 3 if name == "adam" and self.matrices else rate
            part.step()

    def state(self) -> dict[str, Tensor]:
        """The optimisers' tensors, under names that `load` understands."""
        return {
            f"opt.{name}.{i}.{key}": value.contiguous()
            for name, part in self.parts.items()
            for i, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from the tensors that `state` gave."""
        for name, part in self.parts.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"opt.{name}."):
                    _, _, i, field = key.split(".", 3)
                    state.setdefault(int(i), {})[field] = value
            part.load_state_dict({**part.state_dict(), "state": state})


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """A safetensors file, complete or not there at all."""
    temporary = path.with_suffix(".tmp")
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(plain, temporary, {k: json.dumps(v) for k, v in metadata.items()})
    temporary.replace(path)


class Run:
    """A training run: the network, its moving average, the optimiser, and how far they are."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        self.steps, self.images, self.seconds = 0, 0, 0.0
        metadata, tensors = read(args.resume) if args.resume else ({}, {})
        config = {"channels": args.channels, "blocks": args.blocks}
        self.config = json.loads(metadata["config"]) if "config" in metadata else config
        net = UNet(**self.config)
        weights = select(tensors, "net.")  # none in a file of bare weights
        if tensors:
            net.load_state_dict(weights or select(tensors, ""))
        self.net = channels_last(net).to(args.device)
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = Optimizer(self.net, args.lr, args.muon)
        if weights:
            self.ema.load_state_dict(select(tensors, "ema."))
            self.optimizer.load(tensors)
            progress = json.loads(metadata["progress"])
            self.steps, self.images = progress["step"], progress["images"]
            self.seconds = progress["seconds"]

    def rate(self) -> float:
        """The learning rate: linear in steps, then a cosine in wall-clock time."""
        done: float = min(self.seconds / (3600 * self.args.hours), 1)
        warm: float = min((self.steps + 1) / self.args.warmup, 1)
        return float(self.args.lr) * warm * (1 + math.cos(math.pi * done)) / 2

    def step(self, x: Tensor) -> float:
        """One update of the weights and of their moving average."""
        args = self.args
        sigma = draw_sigma(len(x), args.sigma_mean, args.sigma_std, args.sigma_wide).to(x.device)
        loss = edm_loss(self.net, x, sigma)
        self.net.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), args.clip)
        self.optimizer.step(self.rate())
        self.steps += 1
        self.images += len(x)
        decay = min(args.ema, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            pairs = zip(self.ema.parameters(), self.net.parameters(), strict=True)
            for mean, value in pairs:
                mean.lerp_(value, 1 - decay)
        return float(loss.detach())

    def save(self) -> None:
        """Everything that is needed to go on, and the bare moving average in half precision."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        metadata = {
            "config": self.config,
            "hours": round(self.seconds / 3600, 3),
            "images": self.images,
            "progress": {"step": self.steps, "images": self.images, "seconds": self.seconds},
        }
        write(self.args.out / "checkpoint.safetensors", tensors | self.optimizer.state(), metadata)
        half = {k: v.half() for k, v in self.ema.state_dict().items()}
        write(self.args.out / "weights.safetensors", half, metadata)

    def log(self, loss: float, images: list[Tensor]) -> None:
        """One row of log.csv, also printed."""
        denoise = denoiser(self.ema)
        row: list[float] = [
            self.seconds / 3600,
            self.steps,
            self.images,
            self.rate(),
            loss,
        ]
        for level in (25, 50, 100) if images else ():
            values = denoising_psnr(denoise, images, level, self.args.device)
            row.append(sum(values) / len(values))
        path = self.args.out / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(COLUMNS)
            writer.writerow(f"{value:.6g}" for value in row)
        print("  ".join(f"{k} {v:.5g}" for k, v in zip(COLUMNS, row, strict=False)), flush=True)

    def train(self) -> None:
        """Steps until the hours are over; a checkpoint and a row of the log every few minutes."""
        args = self.args
        data = Data(args.cache, args.patch, args.scenes)
        images = list(read_images(args.eval).values())
        seconds, since, losses = self.seconds, time.monotonic(), []
        saved = seconds
        while self.seconds < 3600 * args.hours:
            x = data.batch(args.batch).to(args.device)
            losses.append(self.step(x))
            self.seconds = seconds + time.monotonic() - since
            over = self.seconds >= 3600 * args.hours
            if over or self.seconds - saved > 60 * args.every:
                saved = self.seconds
                mean = sum(losses) / len(losses)
                if not math.isfinite(mean):
                    raise FloatingPointError("the loss is not finite: resume with a lower --lr")
                self.save()
                self.log(mean, images)
                losses = []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--cache", type=Path, required=True, help="what prepare.py wrote")
    add("--out", type=Path, required=True, help="folder for checkpoints, weights and log.csv")
    add("--eval", type=Path, nargs="*", default=[], help="files or folders for the PSNR of the log")
    add("--hours", type=float, required=True, help="wall-clock budget, resumed hours included")
    add("--resume", type=Path, help="a checkpoint, or bare weights (a fresh optimiser then)")
    add("--device", default="cpu", help="cpu or cuda")
    add("--channels", type=int, nargs="+", default=[96, 128, 192, 256], help="at each level")
    add("--blocks", type=int, nargs="+", default=[2, 2, 2, 1], help="at each level")
    add("--batch", type=int, default=32, help="scenes a step")
    add("--patch", type=int, nargs="+", default=[64, 128], help="sides of the crops, one a step")
    add("--scenes", type=float, default=0.7, help="part that is scenes, in batches of their side")
    add("--lr", type=float, default=2e-3, help="peak learning rate")
    add("--warmup", type=int, default=100, help="steps")
    add("--muon", action=argparse.BooleanOptionalAction, default=True, help="or Adam alone")
    add("--ema", type=float, default=0.999, help="decay of the moving average, per step")
    add("--clip", type=float, default=0.5, help="largest norm of the gradient")
    add("--sigma-mean", type=float, default=-0.7, help="of log sigma")
    add("--sigma-std", type=float, default=1.2, help="of log sigma")
    add("--sigma-wide", type=float, default=0.2, help="part drawn log-uniform in 0.002..80")
    add("--every", type=float, default=5, help="minutes between checkpoints")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    torch.manual_seed(args.seed + run.steps)
    run.train()


if __name__ == "__main__":
    main()
