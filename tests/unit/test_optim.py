from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.optim import (
    LBFGS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
)

from reddiff import InvalidArgument, LaneOptimizer, Snapshot
from reddiff.optim import constant_lr, cosine_lr, harmonic_lr, optimizers_of
from reddiff.snapshot.state import selected

MAKERS = {
    "Adam": partial(Adam, lr=0.1),
    "Adam amsgrad": partial(Adam, lr=0.1, amsgrad=True, betas=(0.9, 0.99), eps=1e-3),
    "AdamW": partial(AdamW, lr=0.1, weight_decay=0.1),
    "SGD": partial(SGD, lr=0.1),
    "SGD momentum": partial(SGD, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": partial(RMSprop, lr=0.1, momentum=0.5, centered=True),
    "NAdam": partial(NAdam, lr=0.1),
    "RAdam": partial(RAdam, lr=0.1),
    "Adagrad": partial(Adagrad, lr=0.1),
    "Adadelta": partial(Adadelta, lr=1.0),
    "Adamax": partial(Adamax, lr=0.1),
    "Adafactor": partial(Adafactor, lr=0.1),
    "LBFGS": partial(LBFGS, lr=0.5, max_iter=1, history_size=4),
}
STEPS = 9
X = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CURVATURE = torch.linspace(0.1, 3, 24, dtype=torch.float64).view(3, 2, 4)


def gradient(x: torch.Tensor, lane: int | slice = slice(None)) -> torch.Tensor:
    """Of a quadratic per lane, of very different sizes."""
    size = torch.tensor([1.0, 1e-3, 1e3], dtype=torch.float64).view(3, 1, 1)
    return (size * CURVATURE)[lane] * x


def run(make, steps: int, lr=constant_lr, optimizer: LaneOptimizer | None = None) -> LaneOptimizer:
    optimizer = optimizer or LaneOptimizer(X)
    for _ in range(steps):
        optimizer = optimizer.step(make, gradient(optimizer.x), lr(optimizer.count / STEPS))
    return optimizer


def by_hand(make, lane: int, lr) -> torch.Tensor:
    """Plain torch on one lane."""
    parameter = X[lane].clone().requires_grad_()
    optimizer = make([parameter])
    base = optimizer.param_groups[0]["lr"]
    for step in range(STEPS):
        parameter.grad = gradient(parameter.detach(), lane)
        optimizer.param_groups[0]["lr"] = base * lr(step / STEPS)
        optimizer.step(lambda: 0.0)
    return parameter.detach()


@pytest.mark.parametrize("lr", [constant_lr, cosine_lr])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_lane_moves_as_under_plain_torch(make, lr):
    got = run(make, STEPS, lr).x
    for lane in range(3):
        assert torch.equal(got[lane], by_hand(make, lane, lr))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_saved_optimizer_goes_on_bit_by_bit(make, tmp_path):
    half = run(make, 4)
    Snapshot("", (), 0, (), 1, 4, half.dump()).save(tmp_path / "half")
    tree = Snapshot.load(tmp_path / "half").tree
    resumed = LaneOptimizer.load(tree)
    assert resumed.count == 4
    assert torch.equal(run(make, 5, optimizer=resumed).x, run(make, 5, optimizer=half).x)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_lanes_can_be_picked_from_its_state(make):
    half = run(make, 4)
    alone = selected(half, torch.tensor([2]))
    for _ in range(5):
        alone = alone.step(make, gradient(alone.x, slice(2, 3)))
    assert torch.equal(alone.x, run(make, 5, optimizer=half).x[2:])


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_step_leaves_the_old_object_valid(make):
    old = run(make, 3)
    before = old.x.clone()
    first = old.step(make, gradient(old.x))
    second = old.step(make, gradient(old.x))
    assert torch.equal(old.x, before)
    assert torch.equal(first.x, second.x)
    assert (old.count, first.count) == (3, 4)
    assert not torch.equal(first.x, old.x)


def test_the_start_and_the_gradient_are_left_alone():
    x, g = X.clone(), gradient(X)
    LaneOptimizer(x).step(MAKERS["Adam"], g)
    assert torch.equal(x, X)
    assert torch.equal(g, gradient(X))


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2, 2, 2)])
def test_any_rank(shape):
    optimizer = LaneOptimizer(torch.ones(shape))
    assert optimizer.step(MAKERS["Adam"], torch.ones(shape)).x.shape == shape


@pytest.mark.parametrize(
    "make", [LBFGS, partial(LBFGS, max_iter=1, line_search_fn="strong_wolfe")], ids=["20", "wolfe"]
)
def test_lbfgs_with_more_than_one_gradient_per_step_is_refused(make):
    with pytest.raises(InvalidArgument, match="optimizer: expected LBFGS with max_iter=1") as e:
        optimizers_of(make, [X])
    assert "got max_iter=" in str(e.value)


def test_learning_rate_schedules():
    assert [constant_lr(p) for p in (0.0, 0.5)] == [1, 1]
    assert [cosine_lr(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.5, 0])
    assert cosine_lr(0.25) == pytest.approx(math.cos(math.pi / 8) ** 2)
    assert [harmonic_lr(p) for p in (0.0, 0.01, 0.99)] == pytest.approx([1, 0.5, 0.01])
    assert harmonic_lr(0.5, warm=0.5) == 0.5
