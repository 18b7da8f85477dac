"""Transfer functions are computed once, and again when the PSF or what is asked of it changes."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

import zoo
from reddiff.operators import Blur, CircularBlur, LinearOperator, SymmetricBlur, gaussian_psf
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
