from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import vjp
from torch.nn.functional import scaled_dot_product_attention
from torch.optim import SGD

from reddiff import Gaussian, InvalidArgument, Problem, Unsupported, solve
from reddiff.operators import CircularBlur, Decoder, gaussian_psf
from reddiff.priors import GaussianPrior, LatentPrior
from reddiff.random import Keys
from reddiff.run.cost import Decodings
from reddiff.schedules import geometric, karras
from reddiff.solvers import DDNM, DPS, RED, NoiseAwareREDDiff, PnPADMM, REDDiff
from reddiff.solvers.variants import Variant

pytestmark = pytest.mark.usefixtures("untyped")


def up(z):
    """4 x h x w to 1 x 2h x 2w: an orthonormal Haar transform."""
    a, b, c, d = z.unbind(1)
    even = torch.stack([a + b + c + d, a - b + c - d], -1).flatten(-2)
    odd = torch.stack([a + b - c - d, a - b - c + d], -1).flatten(-2)
    return torch.stack([even, odd], -2).flatten(-3, -2)[:, None] / 2


def down(x):
    zeros = x.new_zeros(len(x), 4, x.shape[2] // 2, x.shape[3] // 2)
    return vjp(up, zeros)[1](x)[0]


def pair(n=6):
    """The same Gaussian prior of pictures n x n and of their latents, and three pictures."""
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(n * n, n * n, generator=rng, dtype=torch.float64)
    mean = torch.randn(1, n, n, generator=rng, dtype=torch.float64) / 4
    cov = root @ root.mT / (4 * n * n)
    q = down(torch.eye(n * n, dtype=torch.float64).view(-1, 1, n, n)).flatten(1)
    latent = GaussianPrior(down(mean[None])[0], q.mT @ cov @ q)
    pixels = GaussianPrior(mean, cov)
    prior = LatentPrior(latent, Decoder(up, down, channels=4, factor=2))
    like = torch.empty(3, 1, n, n, dtype=torch.float64)
    return pixels, prior, pixels.sample(like, Keys(0, (0, 1, 2)).at(0))


EXACT = {
    "red-diff": lambda p: REDDiff(
        karras(30), partial(SGD, lr=0.05), variant=Variant(noise_scale=0.0)
    ),
    "red": lambda p: RED.paper(20, p),
    "pnp-admm": lambda p: PnPADMM(geometric(10, 0.1, 1.0)),
}


@pytest.mark.parametrize("name", EXACT)
def test_an_orthonormal_decoder_gives_the_answer_of_the_pixels(name):
    """For solvers without noise of their own; their data steps are solved to 1e-4."""
    pixels, prior, x = pair()
    problem = Problem.simulate(x, CircularBlur(gaussian_psf(0.7, 1)), Gaussian(0.1))
    latent = problem.pullback(prior.decoder)
    assert latent.x_shape == (4, 3, 3)
    torch.testing.assert_close(prior.decode(prior.encode(x)), x)
    wanted = solve(problem, pixels, EXACT[name](pixels)).x
    got = prior.decode(solve(latent, prior, EXACT[name](prior)).x)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-3)
    assert float((wanted - problem.initial_estimate()).abs().max()) > 0.1


def test_solvers_of_linear_operators_refuse_a_decoder():
    _, prior, x = pair()
    problem = Problem.simulate(x, CircularBlur(gaussian_psf(0.7, 1)), Gaussian(0.1))
    with pytest.raises(Unsupported, match="DDNM: expected operator of type LinearOperator"):
        solve(problem.pullback(prior.decoder), prior, DDNM.paper(5, prior))
    with pytest.raises(InvalidArgument, match=r"solve problem\.pullback\(prior\.decoder\)$"):
        solve(problem, prior)


@pytest.mark.parametrize("runs", [1, 2])
def test_decodings_are_counted_per_lane(runs):
    _, prior, x = pair()
    problem = Problem.simulate(x, CircularBlur(gaussian_psf(0.7, 1)), Gaussian(0.1))
    latent, solver = problem.pullback(prior.decoder), DPS.paper(6, prior)
    whole = solve(latent, prior, solver, runs=runs)
    assert whole.cost.evaluations == whole.cost.decodings == whole.cost.decoder_vjps
    assert whole.cost.decodings == (6 * runs,) * 3
    assert f", {6 * runs} decodings per lane" in str(whole)
    half = solve(latent, prior, solver, runs=runs, stop_at=3)
    assert half.cost.decodings == (3 * runs,) * 3
    rest = solve(latent, prior, solver, resume=half.snapshot)
    assert rest.cost.decodings == whole.cost.decodings
    assert torch.equal(rest.x, whole.x)
    assert solve(problem, pair()[0], DPS.paper(6, prior)).cost.decodings == (0, 0, 0)


def test_products_with_the_jacobian_count_as_the_passes_they_are():
    _, prior, x = pair()
    problem = Problem(x, CircularBlur(gaussian_psf(0.7, 1)), Gaussian(0.1))
    counts = Decodings()
    counted = counts.of(problem.pullback(prior.decoder))
    near = counted.operator.linearise(prior.encode(x))
    assert counts.take() == (3, 3)
    for _ in range(2):
        near.push(torch.ones(3, 4, 3, 3).double())
        near.pull(x)
        near.pull(x)
        assert counts.take() == (0, 9)
    counted.select(torch.tensor([0, 2])).residual(prior.encode(x[:2]))
    assert counts.take() == (2, 0)
    assert counts.of(problem) is problem


class Attention(nn.Module):
    """A decoder whose attention has no second derivative in its fast forms."""

    def forward(self, z):
        q = z.flatten(2).mT[:, None]
        return z + scaled_dot_product_attention(q, q, q)[:, 0].mT.view_as(z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_in_a_decoder_has_second_derivatives(dtype):
    decoder = Decoder(Attention(), channels=2)
    z, v = (torch.randn(2, 2, 4, 4, dtype=dtype) for _ in range(2))
    near = decoder.linearise(z)
    step = 1e-3
    wanted = (decoder(z + step * v) - decoder(z - step * v)) / (2 * step)
    torch.testing.assert_close(near.push(v), wanted, rtol=1e-2, atol=1e-2)


def test_scale_and_shift_are_undone_by_the_encoder():
    shift = torch.tensor([0.1, -0.2, 0.3, 0.4]).view(-1, 1, 1)
    decoder = Decoder(up, down, channels=4, factor=2, scale=0.5, shift=shift)
    z = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(decoder(z), up(z / 0.5 + shift))
    torch.testing.assert_close(decoder.encode(decoder(z)), z)
    torch.testing.assert_close(decoder.initial_estimate(decoder(z)), z)
    alone = Decoder(up, channels=4, factor=2)
    assert alone.initial_estimate(decoder(z)).abs().max() == 0
    with pytest.raises(InvalidArgument, match=r"^encoder: expected one, got none$"):
        alone.encode(decoder(z))


def test_bad_decoders():
    with pytest.raises(InvalidArgument, match=r"^decoder: expected a module or a function"):
        Decoder(3, channels=4)
    with pytest.raises(InvalidArgument, match=r"^encoder: expected a module or a function"):
        Decoder(up, "encoder", channels=4)
    with pytest.raises(InvalidArgument, match=r"^channels: expected an integer"):
        Decoder(up, channels=0)
    with pytest.raises(InvalidArgument, match=r"^x: expected sides .* of 2, .* got 7 x 6$"):
        Decoder(up, channels=4, factor=2).x_shape((1, 7, 6))
    with pytest.raises(InvalidArgument, match=r"^decoder: expected latents of shape \(4, 3, 3\)"):
        LatentPrior(pair()[1].inner, Decoder(up, channels=3))


def test_a_solver_that_linearises_runs_through_an_untrained_decoder():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), nn.SiLU(), nn.PixelShuffle(2))
    decoder = Decoder(net.requires_grad_(False), channels=2, factor=2)
    prior = LatentPrior(GaussianPrior(torch.zeros(2, 4, 4), torch.eye(32)), decoder)
    truth = prior.decode(torch.randn(2, 2, 4, 4))
    problem = Problem.simulate(truth, CircularBlur(gaussian_psf(0.7, 1)), Gaussian(0.05))
    result = solve(
        problem.pullback(decoder), prior, NoiseAwareREDDiff.for_prior(prior, 6), check=True
    )
    assert 0.5 < float(result.residual_ratio.max()) < 2
