"""ONNX files under the real onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

import reddiff
from reddiff import Gaussian, InvalidArgument, Problem, Unsupported, WeightsError
from reddiff.operators import BlockMean
from reddiff.solvers import DPS, NoiseAwareREDDiff

HIDDEN = 16
RNG = np.random.default_rng(0)
FIRST, LAST = (RNG.standard_normal(s) / 6 for s in ((HIDDEN, 3, 3, 3), (3, HIDDEN, 3, 3)))
TIME = RNG.standard_normal((1, HIDDEN))


def save(
    path: Path,
    *,
    kind: int = TensorProto.FLOAT,
    shape: tuple[Any, ...] = ("b", 3, "h", "w"),
    time: tuple[int, tuple[Any, ...]] | None = (TensorProto.FLOAT, ("b",)),
) -> Path:
    """W_2 tanh(W_1 * x + w t): two convolutions, and a matrix product with the time."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {"first": FIRST, "last": LAST, "rate": TIME}
    tensors = [numpy_helper.from_array(v.astype(dtype), k) for k, v in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([-1, 1]), "column"))
    tensors.append(numpy_helper.from_array(np.array([-1, HIDDEN, 1, 1]), "pixels"))
    inputs = [helper.make_tensor_value_info("sample", kind, shape)]
    nodes = [helper.make_node("Conv", ["sample", "first"], ["a"], pads=[1] * 4)]
    if time is not None:
        inputs.insert(0, helper.make_tensor_value_info("timestep", *time))
        nodes += [
            helper.make_node("Cast", ["timestep"], ["t"], to=kind),
            helper.make_node("Reshape", ["t", "column"], ["tt"]),
            helper.make_node("MatMul", ["tt", "rate"], ["m"]),
            helper.make_node("Reshape", ["m", "pixels"], ["mm"]),
            helper.make_node("Add", ["a", "mm"], ["hidden"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["a"], ["hidden"]))
    nodes.append(helper.make_node("Tanh", ["hidden"], ["h"]))
    nodes.append(helper.make_node("Conv", ["h", "last"], ["out"], pads=[1] * 4))
    outputs = [helper.make_tensor_value_info("out", kind, shape)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def net(x: Tensor, t: Tensor) -> Tensor:
    first, last, rate = (torch.from_numpy(v).to(x) for v in (FIRST, LAST, TIME))
    hidden = torch.conv2d(x, first, padding=1) + (t[:, None] * rate).view(-1, HIDDEN, 1, 1)
    return torch.conv2d(hidden.tanh(), last, padding=1)


def x_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


WIRING: dict[str, Any] = {"prediction": "eps", "schedule": {"name": "vp", "times": 1.0}}
TIMES = {
    "float": (TensorProto.FLOAT, ("b",)),
    "column": (TensorProto.FLOAT, ("b", 1)),
    "number": (TensorProto.FLOAT, ()),
}


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("batch", ["b", 1])
def test_an_onnx_file_is_its_network(tmp_path: Path, time: str, batch: Any) -> None:
    kind, shape = TIMES[time]
    shape = tuple(batch if n == "b" else n for n in shape)
    path = save(tmp_path / "net.onnx", shape=(batch, 3, "h", "w"), time=(kind, shape))
    prior = reddiff.prior(path, **WIRING)
    assert prior.shape == (3, None, None)
    wanted = reddiff.prior(net, shape=prior.shape, **WIRING)
    x, s = x_of(3, 3, 9, 12), torch.tensor([0.1, 1.0, 20.0])
    torch.testing.assert_close(prior(x, s), wanted(x, s), rtol=1e-4, atol=1e-4)
    x = x.double()
    assert prior(x, s.double()).dtype == torch.float64


def test_whole_steps_half_precision_and_blind_denoisers(tmp_path: Path) -> None:
    x = x_of(2, 3, 8, 8)
    steps = {"name": "linear", "integer_time": True}
    path = save(tmp_path / "steps.onnx", time=(TensorProto.INT64, ("b",)))
    prior = reddiff.prior(path, prediction="v", schedule=steps)
    wanted = reddiff.prior(net, prediction="v", schedule=steps, shape=(3, None, None))
    torch.testing.assert_close(prior(x, 1.0), wanted(x, 1.0), rtol=1e-4, atol=1e-4)
    half = reddiff.prior(save(tmp_path / "half.onnx", kind=TensorProto.FLOAT16), **WIRING)
    exact = reddiff.prior(net, shape=(3, None, None), **WIRING)(x, 1.0)
    assert half(x, 1.0).dtype == torch.float32
    assert 0 < float((half(x, 1.0) - exact).abs().max()) < 0.02
    blind = reddiff.prior(save(tmp_path / "blind.onnx", time=None), prediction="denoiser")
    assert torch.equal(blind(x, 1.0), blind(x, 2.0))


@pytest.mark.parametrize("side", [8, 33, 64])
def test_a_lane_does_not_depend_on_its_neighbors(tmp_path: Path, side: int) -> None:
    """To the bit, for convolutions and matrix products: the lane law holds as for torch."""
    prior = reddiff.prior(save(tmp_path / "net.onnx"), **WIRING)
    x, s = x_of(5, 3, side, side), torch.tensor([0.1, 0.5, 1.0, 3.0, 9.0])
    together = prior(x, s)
    assert torch.equal(together, prior(x, s))
    alone = torch.cat([prior(x[i : i + 1], s[i : i + 1]) for i in range(5)])
    assert torch.equal(together, alone)


def test_a_run_and_what_cannot_run(tmp_path: Path) -> None:
    prior = reddiff.prior(save(tmp_path / "net.onnx"), **WIRING)
    truth = x_of(2, 3, 8, 8).clamp(-1, 1)
    problem = Problem.simulate(truth, BlockMean(2), Gaussian(0.1))
    solver = NoiseAwareREDDiff.for_prior(prior, 4)
    whole = reddiff.solve(problem, prior, solver)
    assert torch.isfinite(whole.x).all()
    half = reddiff.solve(problem, prior, solver, stop_at=2).snapshot
    again = reddiff.prior(save(tmp_path / "elsewhere.onnx"), **WIRING)
    assert torch.equal(reddiff.solve(problem, again, solver, resume=half).x, whole.x)
    with pytest.raises(Unsupported, match=r"^DPS: expected a prior with gradients, got .*ONNX"):
        reddiff.solve(problem, prior, DPS.paper(4, prior))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x09nothing")
    for name in ("bad.onnx", "absent.onnx"):
        with pytest.raises(WeightsError, match=rf"{name}: expected an ONNX file, got "):
            reddiff.prior(tmp_path / name, **WIRING)
    path = save(tmp_path / "four.onnx", shape=(4, 3, "h", "w"), time=None)
    with pytest.raises(InvalidArgument, match="expected a batch of any size, or of 1, got sample"):
        reddiff.prior(path, prediction="denoiser")
    path = save(tmp_path / "net.onnx")
    with pytest.raises(InvalidArgument, match=r"expected none, as .*net\.onnx has 2 inputs"):
        reddiff.prior(path, classes=3, **WIRING)
    with pytest.raises(InvalidArgument, match=r"^prediction: expected "):
        reddiff.prior(path)
    fixed = reddiff.prior(save(tmp_path / "fixed.onnx", shape=("b", 3, 16, 16)), **WIRING)
    assert fixed.shape == (3, 16, 16)
