"""Conditional networks: labels and embeddings per lane, and classifier-free guidance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import reddiff
import zoo
from reddiff import Gaussian, InvalidArgument, Problem, Snapshot, solve
from reddiff.hooks import Hook, Progress
from reddiff.operators import Identity, Mask
from reddiff.priors import Prior, TiledPrior
from reddiff.solvers import DPS, RSD, REDDiff

F64 = torch.float64
SHAPE = (2, None, None)
MEANS = torch.tensor([-0.6, 0.1, 0.8, 0.0], dtype=F64)  # of three classes, and of none
VAR = 0.04


class Labeled(nn.Module):
    """D(x, sigma) of white x around the mean of its class."""

    def __init__(self) -> None:
        super().__init__()
        self.means = nn.Parameter(MEANS)
        self.calls: list[tuple[int, ...]] = []

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        self.calls.append(tuple(label.tolist()))
        mean, s = self.means[label].view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
        return mean + (x - mean) * VAR / (VAR + s**2)


def labeled(**more: Any) -> Prior:
    return reddiff.prior(
        Labeled(), prediction="denoiser", shape=SHAPE, classes=3, null=3, **more
    ).requires_grad_(False)


X = 0.3 * zoo.randn(3, 2, 5, 4)
PROBLEM = Problem.simulate(X, Mask((torch.arange(20).view(5, 4) % 3 > 0).double()), Gaussian(0.1))
LABELS = torch.tensor([2, 0, 1])


def alone(label: int, guidance: float = 1.0) -> Prior:
    return labeled().given(label=label, guidance=guidance)


@pytest.mark.parametrize("guidance", [1.0, 2.5, torch.tensor([0.5, 3.0, 1.0])])
@pytest.mark.parametrize("solver", [REDDiff.paper(6), DPS.paper(6), RSD.paper(4)])
def test_a_condition_follows_its_lane(solver: Any, guidance: Any) -> None:
    prior = labeled().given(label=LABELS, guidance=guidance)
    together = solve(PROBLEM, prior, solver, seed=4, runs=2)
    weights = torch.as_tensor(guidance).expand(3).tolist()
    for lane in range(3):
        one = alone(int(LABELS[lane]), weights[lane])
        problem = PROBLEM.select(torch.tensor([lane]))
        wanted = solve(problem, one, solver, seed=4, runs=2, ids=[lane])
        torch.testing.assert_close(together.samples[lane], wanted.samples[0], rtol=1e-9, atol=1e-9)
    assert together.samples[0].mean() > together.samples[1].mean()


class Stop(Hook):
    """End the runs of lane 1 after two steps."""

    def converged(self, progress: Progress) -> Tensor | None:
        return torch.tensor([False, True, False]) if progress.step == 2 else None


def test_a_condition_stays_with_its_lane_when_others_end(tmp_path: Any) -> None:
    prior = labeled().given(label=LABELS)
    part = solve(PROBLEM, prior, REDDiff.paper(6), hooks=[Stop()])
    whole = solve(PROBLEM, prior, REDDiff.paper(6))
    torch.testing.assert_close(part.x[[0, 2]], whole.x[[0, 2]], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(part.x[1], whole.x[1])
    half = solve(PROBLEM, prior, REDDiff.paper(6), hooks=[Stop()], stop_at=4)
    half.snapshot.save(tmp_path / "half")
    again = Snapshot.load(tmp_path / "half")
    resumed = solve(PROBLEM, prior, REDDiff.paper(6), hooks=[Stop()], resume=again)
    assert torch.equal(resumed.x, part.x)
    with pytest.raises(reddiff.SnapshotError):
        solve(PROBLEM, labeled().given(label=LABELS.flip(0)), REDDiff.paper(6), resume=again)


def test_guidance_is_two_evaluations_in_one_call() -> None:
    prior = labeled()
    net = prior.get_submodule("net")
    for guidance, evaluations in ((1.0, 5), (2.0, 10)):
        net.calls = []  # type: ignore[assignment]
        view = prior.given(label=LABELS, guidance=guidance)
        result = solve(PROBLEM, view, REDDiff.paper(5), check=False)
        assert result.cost.evaluations == (evaluations,) * 3
        expected = (2, 0, 1, 3, 3, 3) if guidance == 2 else (2, 0, 1)
        assert net.calls == [expected] * 5
    guided = solve(PROBLEM, prior.given(label=1, guidance=2.0), DPS.paper(5))
    assert guided.cost.vjps == (10,) * 3
    assert len({id(p) for view in (prior, view) for p in view.parameters()}) == 1  # one copy


def test_guidance_extrapolates_from_the_null_condition() -> None:
    x, s = zoo.randn(2, 2, 3, 3), torch.tensor([0.2, 3.0], dtype=F64)
    prior = labeled(values=(0, 1))
    d, null = prior.given(label=2)(x, s), prior(x, s)
    w = torch.tensor([2.0, 0.5], dtype=F64).view(-1, 1, 1, 1)
    wanted = null + w * (d - null)
    torch.testing.assert_close(prior.given(label=2, guidance=w.flatten())(x, s), wanted)
    around = TiledPrior(prior, 8).given(label=2, guidance=w.flatten())
    torch.testing.assert_close(around(x, s), wanted)
    assert around.evaluations == 2


def test_embeddings_per_lane() -> None:
    def net(x: Tensor, sigma: Tensor, embedding: Tensor) -> Tensor:
        return x * 0 + embedding.mean((1, 2)).view(-1, 1, 1, 1)

    prior = reddiff.prior(net, prediction="x0", schedule="linear", shape=SHAPE, embedding=(None, 4))
    e = zoo.randn(3, 7, 4)
    x_0 = prior.given(embedding=e)(X, 1.0)
    torch.testing.assert_close(x_0[:, 0, 0, 0], e.mean((1, 2)))
    shared = prior.given(embedding=e[1])(X, 1.0)
    torch.testing.assert_close(shared[2, 0, 0, 0], e[1].mean())


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda p: p.given(label=4), "label: expected integers from 0 to 2, .* got 4"),
        (lambda p: p.given(label=3), "label: expected integers from 0 to 2, .* got 3"),
        (lambda p: p.given(label=-1), "label: .* got -1"),
        (lambda p: p.given(label="cat"), "label: expected integers .* got 'cat'"),
        (lambda p: p.given(label=True), "label: expected integers .* got torch.bool"),
        (lambda p: p.given(label=1.0), "label: expected integers .* got torch.float32"),
        (lambda p: p.given(label=torch.zeros(2, 2, dtype=torch.int64)), r"shape \(2, 2\)"),
        (lambda p: p.given(), "label, embedding: expected one of them"),
        (lambda p: p.given(embedding=torch.zeros(3)), "embedding: expected a label from 0 to 2"),
        (lambda p: p.given(label=1, guidance=float("nan")), "guidance: expected a number"),
        (
            lambda p: p.given(label=LABELS, guidance=torch.ones(2)),
            r"guidance: expected one per condition, got 3 and \(2,\)",
        ),
        (
            lambda p: solve(PROBLEM, p.given(label=LABELS[:2])),
            "prior: expected conditions of 3 lanes, got 2",
        ),
        (lambda p: zoo.gaussian().given(label=1), "prior: expected a network with conditions"),
        (
            lambda p: reddiff.prior(p.net, prediction="denoiser", shape=SHAPE).given(label=1),
            "prior: expected a network with conditions .* got an unconditional one",
        ),
    ],
)
def test_conditions_that_do_not_fit(ask: Any, words: str, untyped: None) -> None:
    with pytest.raises(InvalidArgument, match=words):
        ask(labeled())


def test_a_network_without_a_null_condition() -> None:
    prior = reddiff.prior(Labeled(), prediction="denoiser", shape=SHAPE, classes=3)
    with pytest.raises(InvalidArgument, match="guidance: expected 1, because"):
        prior.given(label=1, guidance=2.0)
    problem = Problem.simulate(X, Identity(), Gaussian(0.1))
    with pytest.raises(InvalidArgument, match=r"prior: expected prior.given\(...\), because"):
        solve(problem, prior)
