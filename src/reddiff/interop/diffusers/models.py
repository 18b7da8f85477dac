"""Networks of diffusers: the shape of x, the multiple of its sides, and the conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from reddiff.errors import InvalidArgument, require
from reddiff.interop.diffusers.schedulers import Config, read_scheduler
from reddiff.interop.wiring import Wiring
from reddiff.priors.base import Prior


@runtime_checkable
class Configured(Protocol):
    """A network or a scheduler of diffusers."""

    config: Mapping[str, Any]


def is_network(source: object) -> bool:
    """Whether this is a network with a config, as in diffusers."""
    if not isinstance(source, nn.Module) or not isinstance(source, Configured):
        return False
    return isinstance(source.config, Mapping)


def network_prior(net: Any, declared: Wiring) -> Prior:
    """The prior of a `UNet2DModel`, `UNet2DConditionModel` or `DiTTransformer2DModel`.

    Sides are padded to the multiple that a U-Net requires; its `sample_size` is not a limit. Give
    the label or the embedding of a conditional network by `prior.given(...)`.

    Arguments:
        net: The network.
        declared: Declarations of the caller. `schedule` is a scheduler of diffusers, its config, or
            any schedule of `reddiff.prior`.

    Raises:
        InvalidArgument: If the network has inputs other than x, t and one condition, or there is no
            schedule.
    """
    config: Config = net.config
    found = _described(config)
    schedule = declared.schedule
    if isinstance(schedule, Configured):
        schedule = {"_class_name": type(schedule).__name__, **schedule.config}
    if isinstance(schedule, Mapping) and "_class_name" in schedule:
        trained = read_scheduler(
            schedule, integer_time=config.get("time_embedding_type") == "learned"
        )
        found, declared = found.over(trained), replace(declared, schedule=None)
    elif schedule is None and declared.prediction is None:
        expected = "a scheduler of diffusers, or its config"
        raise InvalidArgument("schedule", expected=expected, got="none")
    return declared.over(found).prior(net)


def _described(config: Config) -> Wiring:
    """The inputs of a network, from its config."""
    into = int(config["in_channels"])
    out = int(config.get("out_channels") or into)
    got = f"{into} channels in and {out} out"
    require(out in (into, 2 * into), "net", expected="a network of x_t and t only", got=got)
    patches, size = config.get("patch_size"), config.get("sample_size")
    side = (
        None if patches is None else int(size or 0)
    )  # a transformer has a fixed number of positions
    blocks = config.get("block_out_channels") or (0,)
    inputs = Wiring(shape=(into, side, side), multiple=2 ** (len(blocks) - 1))
    return _conditions(config).over(inputs)


def _conditions(config: Config) -> Wiring:
    """The inputs of the network other than x and t.

    Raises:
        InvalidArgument: If there are more than one label or embedding.
    """
    expected = "one label or embedding (a function of x, t and one of them may call the network)"
    for name in ("addition_embed_type", "encoder_hid_dim_type", "class_embed_type"):
        value = config.get(name)
        require(value is None, "net", expected=expected, got=f"{name} {value!r}")
    last = config.get("num_embeds_ada_norm")  # of a DiT, whose null label is the last
    if last:
        return Wiring(classes=last + 1, null=last)
    width, labels = config.get("cross_attention_dim"), config.get("num_class_embeds")
    require(not (width and labels), "net", expected=expected, got="both")
    if width:
        one = isinstance(width, int)
        require(one, "net", expected="one cross_attention_dim", got=width)
        return Wiring(embedding=(None, width))
    return Wiring(classes=labels) if labels else Wiring()


def scheduler_beside(folder: Path) -> Path | None:
    """The config of the scheduler that was saved with a network, if there is one."""
    places = (folder, folder / "scheduler", folder.parent / "scheduler")
    files = [place / "scheduler_config.json" for place in places]
    return next((file for file in files if file.is_file()), None)
