"""ONNX files as networks, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reddiff.errors import WeightsError, import_package, require
from reddiff.interop.wiring import Wiring
from reddiff.priors.base import Prior
from reddiff.priors.networks import Opaque

TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
PICTURES, MOST = 4, 3  # axes of x_t, and inputs: x_t, the time, a condition


class OnnxNetwork(Opaque):
    """A network in an ONNX file, called as `net(x_t, t)` or `net(x_t, t, condition)`.

    It runs on the CPU, with as many threads as torch has when the file is loaded, one operator at a
    time. Inputs are converted to the types of the file, and the output to the type of x_t. A file
    with batch size 1, or with one time for the whole batch, is called once per picture.

    Arguments:
        path: The file.

    Raises:
        InvalidArgument: If onnxruntime is not installed, or the file has other inputs.
        WeightsError: If the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._session = _session(path)
        self.sha256 = sha256(path.read_bytes()).hexdigest()
        # A stable sort: the others keep their order.
        self._inputs = sorted(self._session.get_inputs(), key=lambda i: len(i.shape) != PICTURES)
        shown = ", ".join(f"{i.name} {i.type} {list(i.shape)}" for i in self._inputs) or "none"
        first = self._inputs[0].shape if self._inputs else []
        good = len(first) == PICTURES and len(self._inputs) <= MOST
        expected = "inputs x_t (b, c, h, w), and after it the time and a condition, if any"
        require(good, f"{path}", expected=expected, got=shown)
        known = all(entry.type in TYPES for entry in self._inputs)
        require(known, f"{path}", expected=f"inputs of {', '.join(TYPES)}", got=shown)
        free = not isinstance(first[0], int) or first[0] == 1
        require(free, f"{path}", expected="a batch of any size, or of 1", got=shown)
        self._single = first[0] == 1 or [] in [list(i.shape) for i in self._inputs[1:]]

    @property
    def inputs(self) -> int:
        """The number of inputs: x_t, the time, a condition."""
        return len(self._inputs)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one x, with None for sizes that the file does not fix."""
        return tuple(n if isinstance(n, int) else None for n in self._inputs[0].shape[1:])

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The first output of the file."""
        given = [v for v in (x, t, condition) if v is not None][: self.inputs]
        size = 1 if self._single else len(x)
        out = [self._run([v[i : i + size] for v in given]) for i in range(0, len(x), size)]
        return torch.from_numpy(np.concatenate(out)).to(x)

    def _run(self, values: Sequence[Tensor]) -> Any:
        feed = {}
        for place, (entry, value) in enumerate(zip(self._inputs, values, strict=True)):
            array = value.detach().cpu().numpy().astype(TYPES[entry.type])
            if place == 1:  # the time, (b,)
                rank = len(entry.shape)
                array = array.reshape(-1, *[1] * (rank - 1)) if rank else array.reshape(())
            feed[entry.name] = array
        return self._session.run(None, feed)[0]


def _session(path: Path) -> Any:
    onnxruntime = import_package("onnxruntime", "prior", "onnx")
    if not path.is_file():
        raise WeightsError(f"{path}: expected an ONNX file, got none")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        got = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: expected an ONNX file, got {got}") from error


def onnx_prior(source: str | Path, declared: Wiring) -> Prior:
    """The prior of an ONNX file.

    Arguments:
        source: The file. The input with four axes is x_t; the others are, in their order, the time
            and a condition. A file without a time is a blind denoiser.
        declared: The prediction, and everything else that is not in the file.

    Raises:
        InvalidArgument: If something is missing, or the file has other inputs.
        WeightsError: If the file cannot be read.
    """
    network = OnnxNetwork(Path(source))
    said = declared.classes is not None or declared.embedding is not None
    takes = network.inputs == MOST
    expected = f"{'one of them' if takes else 'none'}, as {source} has {network.inputs} inputs"
    require(said == takes, "classes, embedding", expected=expected, got="one" if said else "none")
    if declared.shape is None:
        declared = replace(declared, shape=network.shape)
    return declared.prior(network).eval()
