"""`reddiff convert`: checkpoints of published networks."""

from __future__ import annotations

import argparse
import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import reddiff
import zoo
from commands import run
from reddiff import InvalidArgument, PictureError, WeightsError
from reddiff.interop import conversion
from reddiff.interop.conversion import convert, shapes_of
from reddiff.interop.published import PUBLISHED, Published
from reddiff.priors.adm import ADM, Plan

# Of the authors' networks: the numbers of tensors and of numbers in them, and a hash of the names
# and shapes. They were taken from the authors' code, those of EDM from physicsnemo (modulus 0.5.0),
# and not from this package.
MANIFEST = {
    "adm-64": (541, 295_904_454, "af57c12d0be8b4f4"),
    "adm-128": (493, 421_529_606, "44eb5c6a285f9d17"),
    "adm-256": (566, 552_814_086, "86f5708ebb91ab69"),
    "adm-256-cond": (567, 553_838_086, "6d41483df3735902"),
    "adm-512": (645, 558_997_638, "90cfe02eac79fe24"),
    "adm-ffhq-256": (362, 93_563_910, "1ffa5b3b9b24aa3e"),
    "adm-64-classifier": (307, 65_438_568, "98f9cbaa7b28a2c4"),
    "adm-128-classifier": (221, 42_568_040, "b2e8e68f3386213b"),
    "adm-256-classifier": (249, 54_096_360, "3524443c57fd1ae5"),
    "adm-512-classifier": (281, 54_448_360, "04d1005b8a050740"),
    "edm-32-vp": (425, 55_733_923, "27d6ea460fd7bfe9"),
    "edm-32-vp-cond": (427, 55_735_331, "132c40df5f78fd1d"),
    "edm-32-ve": (432, 56_398_115, "f394e7e509b78343"),
    "edm-32-ve-cond": (434, 56_400_931, "59daebafe829f2b5"),
    "edm-64-vp": (553, 61_805_619, "e070ab30e873d9f9"),
    "edm-64-ve": (563, 62_761_459, "8751c6cc41f1cbd8"),
    "edm-64-adm": (553, 295_899_315, "01ea648776d27b54"),
    "vp-32": (552, 61_804_467, "eda29db341737df7"),
    "vp-32-cond": (554, 61_805_875, "6863c61b44ba3165"),
    "vp-64": (552, 61_804_467, "6a98e65042a737dc"),
    "ve-32": (562, 62_759_155, "af34438220e264ef"),
    "ve-32-cond": (564, 62_761_971, "7d4c3e8beaeb5da9"),
    "ve-64": (562, 62_759_155, "685b3dbb4211f11b"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_those_of_the_public_files(name: str) -> None:
    shapes = shapes_of(PUBLISHED[name])
    lines = sorted(f"{k} {','.join(map(str, shape))}" for k, shape in shapes.items())
    parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert (len(shapes), parameters, digest) == MANIFEST[name]


PLAN = {"channels": 3, "width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2]}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A state dict of adm-256, which is made narrow for these tests."""
    narrow = PUBLISHED["adm-256"]
    narrow = replace(narrow, arguments={"plan": PLAN, "outputs": 6})
    narrow = replace(narrow, wiring=replace(narrow.wiring, shape=(3, 16, 16), multiple=2))
    labeled = PUBLISHED["adm-256-cond"]
    labeled = replace(labeled, arguments={"plan": PLAN, "outputs": 6, "classes": 4})
    labeled = replace(labeled, wiring=replace(narrow.wiring, classes=4))
    networks: dict[str, Published] = {"adm-256": narrow, "adm-256-cond": labeled}
    monkeypatch.setattr(conversion, "PUBLISHED", networks)
    state = ADM(Plan(**PLAN), 6).state_dict()
    return {k: zoo.randn(*v.shape, seed=i).float() * 0.1 for i, (k, v) in enumerate(state.items())}


WRAPPERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "as it is": lambda t: t,
    "OrderedDict": OrderedDict,
    "state_dict": lambda t: {"state_dict": t, "epoch": 3, "optimizer": {"lr": 1e-4}},
    "averaged first": lambda t: {"model": {k: v + 1 for k, v in t.items()}, "ema": t},
    "module.": lambda t: {f"module.{k}": v for k, v in t.items()},
    "both": lambda t: {"model": {f"module.{k}": v for k, v in t.items()}, "step": torch.ones(1)},
    "two by prefix": lambda t: (
        {f"online_model.{k}": v + 1 for k, v in t.items()}
        | {f"ema_model.{k}": v for k, v in t.items()}
    ),
    "half precision": lambda t: {k: v.half().float().half() for k, v in t.items()},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_checkpoint_becomes_a_prior(
    wrapper: str, tiny: dict[str, Tensor], tmp_path: Path
) -> None:
    if wrapper == "half precision":
        tiny = {k: v.half().float() for k, v in tiny.items()}
    torch.save(WRAPPERS[wrapper](tiny), tmp_path / "some.pt")
    convert(tmp_path / "some.pt", tmp_path / "new.safetensors", "adm-256")
    prior = reddiff.prior(tmp_path / "new.safetensors")
    net = ADM(Plan(**PLAN), 6).eval()
    net.load_state_dict(tiny)
    made = reddiff.prior(net, prediction="eps", schedule="linear", shape=(3, 16, 16))
    x, s = zoo.randn(2, 3, 16, 16).float(), torch.tensor([0.3, 4.0])
    torch.testing.assert_close(prior(x, s), made(x, s), rtol=0, atol=0)
    assert (prior.shape, prior.values) == ((3, 16, 16), (-1, 1))


def test_labels_reach_a_converted_network(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    labeled = tiny | {"label_emb.weight": zoo.randn(4, 128).float()}
    torch.save(labeled, tmp_path / "some.pt")
    convert(tmp_path / "some.pt", tmp_path / "new.safetensors", "adm-256-cond")
    prior = reddiff.prior(tmp_path / "new.safetensors")
    x, s = zoo.randn(2, 3, 16, 16).float(), torch.tensor([0.3, 4.0])
    both = prior.given(label=torch.tensor([3, 1]))(x, s)
    torch.testing.assert_close(both[:1], prior.given(label=3)(x[:1], s[:1]))
    assert float((both - prior.given(label=1)(x, s))[0].abs().max()) > 1e-3
    with pytest.raises(InvalidArgument, match="from 0 to 3"):
        prior.given(label=4)


def test_older_files_and_safetensors(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tiny, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(tiny, tmp_path / "plain.safetensors")
    for name in ("old.pt", "plain.safetensors"):
        convert(tmp_path / name, tmp_path / "new.safetensors", "adm-256", force=True)
        with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
            assert all(torch.equal(file.get_tensor(k), v) for k, v in tiny.items())


def test_half_is_half_the_size(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(tiny, tmp_path / "some.pt")
    sizes, new = [], tmp_path / "new.safetensors"
    for half in (False, True):
        done = convert(tmp_path / "some.pt", new, "adm-256", half=half, force=True)
        sizes.append(new.stat().st_size)
    assert sizes[0] - sizes[1] == pytest.approx(2 * done.parameters, abs=100)
    x, s = zoo.randn(1, 3, 16, 16).float(), torch.tensor([0.3])
    assert torch.isfinite(reddiff.prior(new)(x, s)).all()
    tiny["out.2.bias"][0] = 7e4
    torch.save(tiny, tmp_path / "big.pt")
    with pytest.raises(
        WeightsError, match=r"out.2.bias: expected finite numbers in float16.*7e\+04"
    ):
        convert(tmp_path / "big.pt", tmp_path / "b.safetensors", "adm-256", half=True)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('unpickled')",)


def _bad(tiny: dict[str, Tensor]) -> dict[str, tuple[Any, str]]:
    first = next(iter(tiny))
    fewer = {k: v for k, v in tiny.items() if not k.startswith("out.")}
    refused = "which is not loaded \\(torch.save"
    return {
        "fewer": (fewer, r"adm-256, got 4 missing: out.0.weight, out.0.bias, .*\(closest: adm-256"),
        "more": (tiny | {"a": torch.ones(1)}, r"1 unexpected: a \(closest: adm-256, "),
        "another": (
            tiny | {"label_emb.weight": torch.ones(4, 128)},
            r"1 unexpected: label_emb.weight \(it is adm-256-cond\)",
        ),
        "another shape": (tiny | {first: torch.ones(2, 3)}, r"1 of another shape: .* \(2, 3\) for"),
        "nothing alike": ({"a": torch.ones(1)}, r"missing: .*, \.\.\.; 1 unexpected: a \(no pub"),
        "NaN": (tiny | {first: tiny[first] * torch.nan}, "finite .* float32, got values that"),
        "integers": (tiny | {first: tiny[first].int()}, "finite .* float32, got int32"),
        "a list": ([torch.ones(1)], "expected tensors by name, got none"),
        "a pickle": ({"net": Evil()}, rf"a pickle that would run \S*exec, {refused}"),
        "arguments": (
            {"args": argparse.Namespace(a=1), "model": tiny},
            rf"a pickle that would run argparse.Namespace, {refused}",
        ),
    }


@pytest.mark.parametrize("case", _bad({"time_embed.0.weight": torch.ones(1)}))
def test_what_is_refused_leaves_nothing(case: str, tiny: dict[str, Tensor], tmp_path: Path) -> None:
    saved, message = _bad(tiny)[case]
    torch.save(saved, tmp_path / "some.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        convert(tmp_path / "some.pt", tmp_path / "new.safetensors", "adm-256")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["some.pt"]


def test_files_that_are_none(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    new = tmp_path / "new.safetensors"
    with (tmp_path / "plain.pkl").open("wb") as file:
        pickle.dump({"ema": Evil()}, file)
    torch.save(tiny, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:5000])
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("no weights at all")
    for name in ("plain.pkl", "cut.pt", "empty.pt", "text.safetensors"):
        with pytest.raises(WeightsError, match="expected") as caught:
            convert(tmp_path / name, new, "adm-256")
        assert "\n" not in str(caught.value)
    with pytest.raises(PictureError, match="no such file"):
        convert(tmp_path / "none.pt", new, "adm-256")
    with pytest.raises(InvalidArgument, match="arch: expected one of adm-256, "):
        convert(tmp_path / "cut.pt", new, "adm-257")
    assert not new.exists()
    torch.save(tiny, tmp_path / "some.pt")
    new.write_text("mine")
    with pytest.raises(PictureError, match="expected a new file"):
        convert(tmp_path / "some.pt", new, "adm-256")
    assert new.read_text() == "mine"


def test_the_command(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"ema": {f"module.{k}": v for k, v in tiny.items()}, "old": tiny}, tmp_path / "a.pt")
    new = tmp_path / "new.safetensors"
    text = run("convert", tmp_path / "a.pt", new, "--arch", "adm-256", "--half")
    assert "adm-256, 0.8 M parameters, 1.7 MB" in text
    assert f"from ema/module.; {len(tiny)} other tensors left out" in text
    assert reddiff.prior(new).shape == (3, 16, 16)
    again = ("convert", tmp_path / "a.pt", new, "--arch", "adm-256")
    assert "expected a new file" in run(*again, code=4)
    run(*again, "--force")
    assert "safetensors, got" in run("convert", new, tmp_path / "b.pt", *again[3:], code=3)
    assert "one of adm-256" in run(*again[:3], "--arch", "nothing", code=3)
    assert "no such file" in run("convert", "none.pt", "c.safetensors", *again[3:], code=4)
