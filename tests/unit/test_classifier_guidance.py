"""Classifier guidance, with classifiers whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import reddiff
import zoo
from reddiff import Gaussian, InvalidArgument, Problem, WeightsError
from reddiff.interop import conversion
from reddiff.interop.conversion import convert
from reddiff.interop.published import PUBLISHED
from reddiff.operators import Identity
from reddiff.priors import ClassifierGuidance, GaussianPrior, NoisyClassifier
from reddiff.priors.adm import Plan
from reddiff.priors.adm_classifier import ADMClassifier
from reddiff.priors.paths import Unscaled
from reddiff.schedules import karras
from reddiff.solvers import DDNM, DPS
from zoo.priors import component, component_logits, mixture
from zoo.tensors import F64, spd

MIXTURE = mixture()
LABELS = torch.tensor([2, 0])


def test_an_exact_classifier_gives_the_posterior_mean() -> None:
    """The mixture under a label is one of its components, whose denoiser is known."""
    prior = component(LABELS)
    x, s = zoo.randn(2, 4, seed=1) * 2, torch.tensor([0.4, 1.7], dtype=F64)
    for i, label in enumerate(LABELS):
        alone = GaussianPrior(zoo.randn(3, 4, seed=30)[label], spd(4, seed=31 + int(label)))
        wanted, pullback = alone.vjp(x[i : i + 1], s[i])
        torch.testing.assert_close(prior(x, s)[i : i + 1], wanted)
        one, guided = prior.select(torch.tensor([i])).vjp(x[i : i + 1], s[i])
        v = zoo.randn(1, 4, seed=2)
        torch.testing.assert_close(one, wanted)
        torch.testing.assert_close(guided(v), pullback(v))
    with torch.inference_mode():
        torch.testing.assert_close(prior(x, s), prior(x, s).clone())
    doubled = component(LABELS, torch.tensor([0.0, 2.0]))(x, s)
    torch.testing.assert_close(doubled[0], MIXTURE(x, s)[0])
    torch.testing.assert_close(doubled[1], (2 * prior(x, s) - MIXTURE(x, s))[1])


def test_runs_count_the_classifier() -> None:
    x = zoo.randn(2, 4, seed=3)
    problem = Problem.simulate(x, Identity(), Gaussian(0.5))
    prior = component(LABELS)
    plain = reddiff.solve(problem, prior, DDNM(karras(5, 0.01, 10.0)))
    assert (plain.cost.evaluations, plain.cost.vjps) == ((10, 10), (5, 5))
    guided = reddiff.solve(problem, prior, DPS(karras(5, 0.01, 10.0)))
    assert (guided.cost.evaluations, guided.cost.vjps) == ((10, 10), (20, 20))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="label: expected integers from 0 to 2"):
        component(3)
    other = NoisyClassifier(component_logits, Unscaled(0.01, 100.0), 3, (5,))
    with pytest.raises(InvalidArgument, match=r"classifier: expected one for x of shape \(4,\)"):
        ClassifierGuidance(MIXTURE, other, 1)
    with pytest.raises(InvalidArgument, match="expected one for each lane, got 2 and 3 lanes"):
        component(LABELS, torch.ones(3))


def test_a_classifier_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"channels": 3, "width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2]}
    model = PUBLISHED["adm-64-classifier"]
    arguments = {"plan": plan, "side": 8, "classes": 5}
    narrow = replace(model, arguments=arguments, wiring=replace(model.wiring, shape=(3, 8, 8)))
    monkeypatch.setattr(conversion, "PUBLISHED", {"adm-64-classifier": narrow})
    torch.save(ADMClassifier(Plan(**plan), 8, 5).state_dict(), tmp_path / "c.pt")
    path = tmp_path / "c.safetensors"
    convert(tmp_path / "c.pt", path, "adm-64-classifier")
    classifier = reddiff.load_classifier(path)
    inner = GaussianPrior(torch.zeros(3 * 8 * 8), 0.2 * torch.eye(3 * 8 * 8))
    flat = reddiff.prior(
        lambda x, s: inner(x.flatten(1), s).view(x.shape), prediction="denoiser", shape=(3, 8, 8)
    )
    prior = ClassifierGuidance(flat, classifier, 4, 3.0)
    x, s = zoo.randn(2, 3, 8, 8).float(), torch.tensor([0.5, 3.0])
    leaf = x.clone().requires_grad_()
    total = classifier(leaf, s.view(-1, 1, 1, 1), torch.tensor([4, 4])).sum()
    (slope,) = torch.autograd.grad(total, leaf)
    wanted = flat(x, s) + 3 * s.view(-1, 1, 1, 1) ** 2 * slope
    torch.testing.assert_close(prior(x, s), wanted)
    estimate, pullback = prior.vjp(x, s)  # with the second derivative of attention
    assert torch.isfinite(pullback(x)).all()
    torch.testing.assert_close(estimate, wanted)
    with pytest.raises(WeightsError, match="expected a prior, got a classifier"):
        reddiff.prior(path)
