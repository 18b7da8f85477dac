"""How an ONNX file is called; tests/diffusers does it with the real onnxruntime."""

from __future__ import annotations

import sys

import pytest
import torch

import reddiff
from reddiff import Gaussian, InvalidArgument, Problem, Unsupported, WeightsError, solve
from reddiff.operators import BlockMean
from reddiff.priors import GrayPrior
from reddiff.solvers import DPS, NoiseAwareREDDiff
from stand_ins import ONNXRUNTIME, Session

X, T = ("x", ["b", 3, "h", "w"], "tensor(float)"), ("t", ["b"], "tensor(float)")
LABEL = ("label", ["b"], "tensor(int64)")


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", ONNXRUNTIME)
    monkeypatch.setattr(Session, "inputs", [X, T])
    (tmp_path / "net.onnx").write_bytes(b"net")
    return tmp_path / "net.onnx"


X0 = {"prediction": "x0", "schedule": {"name": "vp"}}


def test_types_and_shapes_are_those_of_the_file(path, monkeypatch):
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    prior = reddiff.prior(path, **X0)
    assert prior.shape == (3, None, None)
    assert prior(x, 1.0).dtype == torch.float64
    assert Session.calls == [{"x": ("float32", (2, 3, 4, 4)), "t": ("float32", (2,))}]
    time = prior.path.time(torch.ones(2)).view(-1, 1, 1, 1)
    torch.testing.assert_close(prior(x.float(), 1.0), x.float() / 32**0.5 + time / 8)
    half = ("x", [1, 3, 4, 4], "tensor(float16)"), ("t", [1, 1], "tensor(int64)")
    monkeypatch.setattr(Session, "inputs", half[::-1])  # x_t is found by its four axes
    steps = {"name": "linear", "integer_time": True}
    prior = reddiff.prior(str(path), prediction="x0", schedule=steps)
    assert prior.shape == (3, 4, 4)
    prior(x, 1.0)
    assert Session.calls == [{"x": ("float16", (1, 3, 4, 4)), "t": ("int64", (1, 1))}] * 2
    monkeypatch.setattr(Session, "inputs", [X, ("t", [], "tensor(float)")])
    reddiff.prior(path, **X0)(x, torch.tensor([1.0, 2.0]).double())
    assert [call["t"] for call in Session.calls] == [("float32", ())] * 2


def test_labels_and_blind_networks(path, monkeypatch):
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(InvalidArgument, match=r"embedding: expected none, as .* 2 inputs"):
        reddiff.prior(path, classes=4, **X0)
    monkeypatch.setattr(Session, "inputs", [X, T, LABEL])
    with pytest.raises(InvalidArgument, match=r"expected one of them, as .* has 3 inputs"):
        reddiff.prior(path, **X0)
    prior = reddiff.prior(path, classes=4, **X0)
    given = prior.given(label=torch.tensor([1, 3]))(x, 1.0)
    torch.testing.assert_close(given[1] - given[0], torch.full((3, 4, 4), 2.0))
    monkeypatch.setattr(Session, "inputs", [X])
    blind = reddiff.prior(path, prediction="denoiser", levels=(0.01, 0.5))
    assert torch.equal(blind(x + 1, 0.1), (x + 1) / 4)
    assert (blind.sigma_min, blind.sigma_max) == (0.01, 0.5)


def test_solvers_that_differentiate_refuse_before_any_evaluation(path):
    prior = reddiff.prior(path, **X0)
    truth = torch.rand(1, 3, 8, 8)
    problem = Problem.simulate(truth, BlockMean(2), Gaussian(0.1))
    with pytest.raises(
        Unsupported, match=r"^DPS: expected a prior with gradients, got an ONNX network"
    ):
        solve(problem, prior, DPS.paper(3, prior), check=False)
    assert Session.calls == []
    assert not GrayPrior(prior).differentiable
    result = solve(problem, prior, NoiseAwareREDDiff.for_prior(prior, 3), check=False)
    assert torch.isfinite(result.x).all()
    assert len(Session.calls) == 3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([("x", ["b", 3, 4], "tensor(float)")], r"expected inputs x_t \(b, c, h, w\)"),
        ([], r"expected inputs x_t .*, got none$"),
        ([X, T, LABEL, LABEL], r"expected inputs x_t .* a condition, if any, got x tensor"),
        ([("x", [2, 3, 4, 4], "tensor(float)")], r"expected a batch of any size, or of 1, got x "),
        ([("x", ["b", 3, 4, 4], "tensor(bool)")], r"expected inputs of tensor\(float\), "),
    ],
)
def test_other_inputs_are_refused_in_one_line(path, inputs, message, monkeypatch):
    monkeypatch.setattr(Session, "inputs", inputs)
    with pytest.raises(InvalidArgument, match=r"net\.onnx: " + message) as error:
        reddiff.prior(path, prediction="denoiser")
    assert "\n" not in str(error.value)


def test_files_that_are_none(path, tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"absent\.onnx: expected an ONNX file, got none$"):
        reddiff.prior(tmp_path / "absent.onnx", **X0)
    path.write_bytes(b"not ONNX")
    with pytest.raises(WeightsError, match="expected an ONNX file, got INVALID_PROTOBUF: it is"):
        reddiff.prior(path, **X0)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InvalidArgument, match=r"pip install 'reddiff\[onnx\]'"):
        reddiff.prior(path, **X0)
