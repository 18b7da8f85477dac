"""Transfer functions and transforms: what is computed once, and again when its inputs change."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

import zoo
from reddiff.operators import (
    Blur,
    CircularBlur,
    LinearOperator,
    SymmetricBlur,
    VaryingBlur,
    gaussian_psf,
)
from reddiff.operators.dct import dct2, idct2
from reddiff.operators.kept import Kept

X = zoo.randn(3, 1, 12, 10)
KINDS = pytest.mark.parametrize("kind", [CircularBlur, SymmetricBlur, Blur])


def psf(width: float = 0.7, lanes: int | None = None) -> Tensor:
    one = gaussian_psf(width, 2)
    return one if lanes is None else torch.stack([one * (i + 1) for i in range(lanes)])


def test_it_is_made_once_for_a_parameter_and_a_key():
    kept, parameter, made = Kept(), torch.ones(3), []

    def get(source: Tensor, key: str) -> Tensor:
        return kept.get(source, key, lambda: made.append(key) or 2 * source)

    assert get(parameter, "a") is get(parameter, "a")
    get(parameter, "b")
    parameter.mul_(3)
    assert torch.equal(get(parameter, "b"), torch.full((3,), 6.0))
    get(parameter.clone(), "b")
    assert made == ["a", "b", "b", "b"]
    for other in (torch.ones(3, requires_grad=True), torch.inference_mode()(torch.ones)(3)):
        assert get(other, "c") is not get(other, "c")


@KINDS
def test_other_sizes_and_dtypes_are_not_mixed_up(kind: type[CircularBlur]):
    operator = kind(psf())
    for x in (X, X[..., :8], X.float(), X):
        assert torch.equal(operator(x), kind(psf())(x))
        assert torch.equal(operator.adjoint(x), kind(psf()).adjoint(x))


@KINDS
def test_a_psf_that_is_changed_or_converted_is_seen(kind: type[CircularBlur]):
    operator = kind(psf())
    operator(X)
    operator.load_state_dict(kind(psf(0.4)).state_dict())
    assert torch.equal(operator(X), kind(psf(0.4))(X))
    single = operator.float()
    assert torch.equal(single(X.float()), kind(psf(0.4).float())(X.float()))


@KINDS
def test_lanes_that_are_chosen_have_their_own(kind: type[CircularBlur]):
    operator = kind(psf(lanes=3), per_lane=True)
    wanted = operator(X)
    chosen = operator.select(torch.tensor([2, 0]))
    assert torch.equal(chosen(X[[2, 0]]), wanted[[2, 0]])
    assert torch.equal(operator(X), wanted)


@KINDS
def test_copies_and_pickles_take_the_parameters_alone(kind: type[CircularBlur]):
    fresh, used = kind(psf()), kind(psf())
    size = len(pickle.dumps(fresh))
    wanted = used(X)
    assert len(pickle.dumps(used)) == size
    for made in (pickle.loads(pickle.dumps(used)), copy.deepcopy(used)):
        assert torch.equal(made(X), wanted)


@KINDS
def test_what_inference_mode_kept_is_good_for_a_gradient(kind: type[CircularBlur]):
    operator = kind(psf())
    with torch.inference_mode():
        operator(X)
    x = X.clone().requires_grad_()
    operator(x).square().sum().backward()
    wanted = 2 * operator.adjoint(operator(X))
    torch.testing.assert_close(x.grad, wanted)
    operator.psf.requires_grad_()  # of a PSF that is learned nothing is kept
    operator(X).square().sum().backward()
    assert operator.psf.grad is not None
    assert operator.psf.grad.any()


@KINDS
def test_threads_share_an_operator(kind: type[CircularBlur]):
    operator: LinearOperator = kind(psf())
    images = [X, X[..., :8], X[..., :7, :], X[..., :9, :9]]
    wanted = [kind(psf())(x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            found = pool.map(operator, images)
            assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_varying_blur_keeps_what_each_node_needs():
    nodes = [psf(width, lanes=3) for width in (0.4, 0.6, 0.8, 1.0)]
    psfs = torch.stack(nodes, 1).unflatten(1, (2, 2))
    operator = VaryingBlur(psfs, per_lane=True)
    with torch.inference_mode():
        operator(X)
    for x in (X, X[..., :8], X.float(), X):
        fresh = VaryingBlur(psfs, per_lane=True)
        assert torch.equal(operator(x), fresh(x))
        assert torch.equal(operator.adjoint(x), fresh.adjoint(x))
    assert torch.equal(operator.select(torch.tensor([2, 0]))(X[[2, 0]]), operator(X)[[2, 0]])
    doubled = VaryingBlur(2 * psfs, per_lane=True)
    operator.psfs.mul_(2)
    assert torch.equal(operator(X), doubled(X))


def test_a_cosine_transform_in_inference_mode_leaves_what_autograd_takes():
    x = zoo.randn(1, 1, 23, 29)  # of sizes that nothing else has
    with torch.inference_mode():
        wanted = idct2(dct2(x))
    leaf = x.clone().requires_grad_()
    idct2(dct2(leaf)).square().sum().backward()
    torch.testing.assert_close(wanted, x)
    torch.testing.assert_close(leaf.grad, 2 * x)
