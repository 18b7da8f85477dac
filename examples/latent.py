"""Latents: pictures found as z, with x = decoder(z), from a tenth of their pixels.

The autoencoder learns ellipses here, and a Gaussian fitted to its latents is the prior of z. One
fitted to pixels knows no edges; the decoder does. Where diffusers is installed, a pipeline with its
`AutoencoderTiny` and random weights is wired as well.
"""

import importlib.util
from functools import partial

import torch
from common import output, report, save
from torch import Tensor, nn

import reddiff
from reddiff.operators import Decoder, Identity, Mask
from reddiff.priors import GaussianPrior, LatentPrior
from reddiff.solvers import DPS, NoiseAwareREDDiff
from reddiff.units import to_pixels


def ellipses(n: int, seed: int) -> Tensor:
    """(n, 1, 32, 32): place, half axes, angle and both grays are random."""
    rng = torch.Generator().manual_seed(seed)
    cx, cy, a, b, angle, gray, step = torch.rand(7, n, 1, 1, 1, generator=rng)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    x, y, angle = x - cx + 0.5, y - cy + 0.5, 3.14 * angle
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    r = ((u / (0.25 + 0.4 * a)) ** 2 + (v / (0.25 + 0.4 * b)) ** 2).sqrt()
    return 0.6 * gray - 0.8 + torch.sigmoid(12 * (1 - r)) * (0.5 + 0.6 * step)


def learn(pictures: Tensor) -> Decoder:  # with its encoder, to 2 x 4 x 4
    conv, bend, twice = partial(nn.Conv2d, kernel_size=3, padding=1), nn.SiLU(), nn.PixelShuffle(2)
    down = conv(1, 16, stride=2), bend, conv(16, 32, stride=2), bend, conv(32, 32, stride=2), bend
    up = conv(2, 128), twice, bend, conv(32, 96), twice, bend, conv(24, 64), twice, bend
    encode, decode = nn.Sequential(*down, conv(32, 2)), nn.Sequential(*up, conv(16, 1))
    optimizer = torch.optim.Adam([*encode.parameters(), *decode.parameters()], 4e-3)
    for _ in range(350):
        batch = pictures[torch.randint(len(pictures), (32,))]
        z = encode(batch)
        error = (decode(z + 0.05 * torch.randn_like(z)) - batch).square().mean()
        optimizer.zero_grad()
        (error + 1e-4 * z.square().mean()).backward()
        optimizer.step()
    made = Decoder(decode, encode, channels=2, factor=8, scale=1 / encode(pictures).std().item())
    return made.requires_grad_(False)


def gaussian(x: Tensor) -> GaussianPrior:
    return GaussianPrior(x.mean(0), torch.cov(x.flatten(1).double().T).float())


def row(x: Tensor) -> Tensor:
    return nn.functional.interpolate(to_pixels(torch.cat([*x], -1)[None]), scale_factor=4)


path = output("latent.png")
torch.manual_seed(0)
training, truth = ellipses(2048, seed=1), ellipses(3, seed=2)
decoder = learn(training)
prior = LatentPrior(gaussian(decoder.encode(training)), decoder)
seen = (torch.rand(32, 32) < 0.1).float()
problem = reddiff.Problem.simulate(truth, Mask(seen), reddiff.Gaussian(0.1))
result = reddiff.solve(problem.pullback(decoder), prior, NoiseAwareREDDiff.for_prior(prior, 20))
pixels = reddiff.solve(problem, gaussian(training))
shown = {"recorded": row(problem.y), "gaussian": row(pixels.x)}
shown["latent"] = row(prior.decode(result.x))
report(row(truth), result, **shown)
save(path, row(truth), **shown)
if importlib.util.find_spec("diffusers"):
    import diffusers

    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"]}
    net = diffusers.UNet2DModel(in_channels=4, out_channels=4, block_out_channels=[32], **blocks)
    parts = diffusers.AutoencoderTiny(), net.eval(), diffusers.DDIMScheduler()
    prior = reddiff.prior(diffusers.LDMPipeline(*parts))
    latent = reddiff.Problem(torch.zeros(1, 3, 64, 64), Identity(), reddiff.Gaussian(0.1))
    z = reddiff.solve(latent.pullback(prior.decoder), prior, DPS.paper(2, prior)).x
    print(f"diffusers: z {tuple(z.shape)}, x {tuple(prior.decode(z).shape)}")
