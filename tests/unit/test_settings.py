"""One list of options, from the command line to the record."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, field, fields, replace

import numpy as np
import pytest
from typer.main import get_command

import reddiff
from reddiff import InvalidArgument
from reddiff.cli.commands import app
from reddiff.cli.options import with_settings
from reddiff.images.jobs import Job
from reddiff.images.option import Option
from reddiff.images.restoration import keywords
from reddiff.images.settings import Degradation, Settings, check_numbers, options

NAMES = [f.name for f in fields(Settings)]


@pytest.mark.parametrize(
    ("command", "call", "kind"),
    [("restore", reddiff.restore, Settings), ("degrade", reddiff.degrade, Degradation)],
)
def test_every_setting_is_an_option_an_argument_and_an_entry(command, call, kind):
    parameters = inspect.signature(call).parameters
    typed = {p.name: p for p in get_command(app).commands[command].params}
    for f in fields(kind):
        assert parameters[f.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[f.name].default == (
            inspect.Parameter.empty if f.default is MISSING else f.default
        )
        option = typed[f.name]
        assert option.opts == [f"--{f.name.replace('_', '-')}"]
        assert option.required == (f.default is MISSING)
        assert option.help == options(kind)[f.name].help
        assert f"{f.name}: {option.help}" in call.__doc__
    extra = {"restore": {"image", "hooks", "preview"}, "degrade": {"image"}}[command]
    assert set(parameters) - {f.name for f in fields(kind)} == extra


@dataclass(frozen=True, kw_only=True)
class More(Settings):
    gamma: float | None = field(
        default=None, metadata={"option": Option(float, "Gamma.", low=1, high=3)}
    )


VALUES = {str: "x", int: 64, float: 0.5, bool: True}


@pytest.mark.parametrize("name", NAMES)
def test_a_job_keeps_every_setting_in_its_entries(name):
    value = VALUES[options(Settings)[name].kind]
    job = Job("a.png", "b.png", replace(Settings(task="denoise"), **{name: value}))
    assert job.entries[name] == value
    assert Job.of(job.entries) == job


def test_a_new_option_is_one_new_field():
    seen = []

    @with_settings(More)
    def command(settings: More, quiet: bool = False) -> None:
        seen.append(settings.gamma)

    @keywords(More)
    def call(image, settings: More) -> None:
        seen.append(settings.gamma)

    names = list(inspect.signature(command).parameters)
    assert names[0] == "task"
    assert names[-2:] == ["gamma", "quiet"]
    command(**dict.fromkeys(NAMES), gamma=2.2, quiet=True)
    call("a.png", task="denoise", gamma=2.2)
    assert seen == [2.2, 2.2]
    with pytest.raises(InvalidArgument, match="gamma: expected a number from 1 to 3, got 5"):
        check_numbers(More(task="denoise", gamma=5))


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"noise": -0.1}, {"noise": float("nan")}, {"tile": 63}, {"scale": 1 << 20}],
)
def test_numbers_out_of_range_are_named(change):
    (name,) = change
    with pytest.raises(InvalidArgument, match=f"^{name}: expected a number from"):
        check_numbers(Settings(task="denoise", **change))


def test_a_job_holds_words_and_numbers_alone():
    job = Job("a.png", "b.png", Settings(task=reddiff.operators.Identity()))
    with pytest.raises(InvalidArgument, match="task: expected a str in a job, got Identity"):
        job.check()


def test_pages_and_ranges_are_those_of_files():
    photo = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(
        InvalidArgument, match="page: expected None for an image that is not a file"
    ):
        reddiff.restore(photo, task="denoise", page=1)
    assert reddiff.degrade(image=photo, task="denoise").size == (8, 8)
