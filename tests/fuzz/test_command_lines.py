"""2,000 command lines: whatever is typed ends in a documented code, a line, and whole files."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import forked
import pytest
import sandbox
from forked import faults, manifest

SOURCES = ["pics/rgb.png"] * 10 + [
    *("pics/gray.png", "pics/rgba.png", "pics/rgb.jpg", "pics/rgb.tif", "pics/rgb.webp"),
    *("pics/one.png", "pics/row.png", "pics/black.png", "pics/deep.png", "link.png"),
    *("missing.png", "", "-", ".", "..", "two", "two", "deep", "empty", "/dev/null", "/dev/zero"),
    *("fifo.png", "dangling.png", "loop.png", "zero.png", "dir.png", "with space.png"),
    *("{task.id}.png", "[bold]x.png", "x\ny.png", "\x1b[31mr.png", os.fsdecode(b"\xff\xfe.png")),
    *("cut.png", "empty.png", "text.png", "k.npy", "two/*.png", "*.none", "[", "**", "a" * 300),
]
OUTPUTS = ["out/new.png"] * 10 + [
    *("out/new.jpg", "out/new.tif", "out/new.webp", "out/new.PNG", "out", "newdir", "newdir/"),
    *("no/x.png", "", ".", "/dev/null", "/dev/full", "pics/rgb.png", "out/x", "out/x.gif"),
    *("out/existing.png", "out/link.png", "out/dangling.png", "out/fifo.png", "out/..", "dir.png"),
    *(f"out/{'b' * 250}.png", f"out/{'b' * 300}", "out/n\nl.png", "/proc/x.png", "out/a{b}.png"),
    *("pics/rgb.png/x.png", "loop.png/x.png", os.fsdecode(b"out/\xff.png"), "out/[x].png"),
]
TASKS = (
    ["denoise"] * 8
    + ["inpaint"] * 5
    + ["sr"] * 4
    + ["deblur"] * 5
    + [
        *("colorize", "demosaic", "hdr", "hdr:2", "quantize:8", "jpeg", "jpeg:10", "sr:bicubic"),
        *(
            "sr:foo",
            "hdr:nan",
            "hdr:inf",
            "hdr:-2",
            "quantize:nan",
            "quantize:1e400",
            "quantize:2.5",
        ),
        *("jpeg:0", "jpeg:nan", "jpeg:1_0", "jpeg:" + "9" * 5000, "", ":", "DENOISE", "mine.py:"),
        *("exit.py:f", "syntax.py:f", "missing.py:f", "fifo.py:f", "text.png:f", "mine.py:missing"),
        *(
            f"mine.py:{name}"
            for name in (
                *(
                    "lens",
                    "nonlinear",
                    "gray",
                    "half",
                    "nan",
                    "raising",
                    "oserr",
                    "leaving",
                    "none",
                ),
                *("whole", "noisy", "noargs", "inplace", "double", "big", "number", "text", "Odd"),
                *("array", "torch", "__doc__", "sys"),
            )
        ),
    ]
)
MASKS = ["pics/mask.png"] * 3 + [
    *("random:0.7", "random:1", "random:nan", "random:", "box:3", "box:1e9", "box:nan"),
    *("brush:10-20", "brush:nan-5", "brush:0.001-0.002", "text:lorem", "text:foo", "missing.png"),
    *("", "/dev/zero", "fifo.png", "pics/one.png", "pics/black.png", "two", "cut.png", "k.npy"),
]
KERNELS = ["gaussian:1.6"] * 3 + [
    *("gaussian:0", "gaussian:nan", "gaussian:inf", "gaussian:1e-320", "gaussian:127"),
    *("motion:5,30", "motion:nan,0", "motion:3,1e308", "uniform:3", "uniform:1e-160"),
    *("disk:3", "disk:0", "shake:3,0", "shake:5,1e300", "levin:1", "levin:1e300", "levin:9"),
    *("k.npy", "k.npz", "k.npz:a", "k.npz:zzz", "knan.npy", "kbig.npy", "fifo.npy"),
    *("pics/gray.png", "pics/black.png", "", ":", "missing.npy", "two", "/dev/zero"),
]
NUMBERS = [
    *("0", "1", "2", "3", "0.05", "-1", "nan", "inf", "-inf", "1e400", "1e-320", "x", "", "1_0"),
    *("9223372036854775808", "-9223372036854775809", "1000000000000", "9" * 5000, "\u0663"),
]
SOLVERS = ["noise-aware"] * 6 + [
    *("paper", "rsd", "dps", "mcg", "pigdm", "tmpd", "mmps", "jfps", "ddrm", "ddnm", "tds"),
    "ddnm-plus",
    *("diffpir", "daps", "pnp-dm", "sitcom", "red", "pnp-hqs", "pnp-admm", "ula", "", "foo"),
]
PRIORS = ["tiny.safetensors"] * 12 + [
    *("nan.safetensors", "bad.safetensors", "missing.safetensors", "fifo.safetensors", "foo", ""),
    *("/dev/null", "pics/rgb.png", "dir.safetensors"),
]
DEVICES = ["auto", "cpu", "cpu:0", "cuda:99", "meta", "mps", "", "foo", "privateuseone", "lazy"]
TRUTHS = ["pics/rgb.png", "pics/gray.png", "pics/one.png", "missing.png", "", "two", "fifo.png"]
FOLDERS = ["out/film", "newfilm", "", "out/existing.png", "/dev/null", "/proc/x", "a/b"]
REPORTS = ["report.csv", "", "out", "fifo.png", "out/existing.png", "no/report.csv", "/dev/full"]
RECORDS = ["notrec.json", "deep.json", "fifo.json", "missing.json", "/dev/zero", "two", "", "-"]
SHAPES = ["3,16,16", "1", "3,0,4", "-1", "", "x", "3,,4", "0", "100000,100000,100000", "1" * 30]
SIZES = ["8", "4x6", "1", "0", "-1", "", "x16", "1e3", "99999", "2x100000000", "9" * 5000]
JUNK = ["--foo", "-x", "--", "-o", "--force=1", "-h", "--version", "--seed", "\x1b[31m"]


def command_line(rng: random.Random) -> list[str]:
    """Words of a command: mostly of some sense, with a few that have none."""
    weights = {"restore": 50, "degrade": 20, "sample": 8, "check": 8, "show": 4, "junk": 2}
    name = rng.choices([*weights], [*weights.values()])[0]
    words = [name]

    def option(flag: str, values: Sequence[str], share: float) -> None:
        if rng.random() < share:
            words.extend([flag, rng.choice(values)])

    if name in ("restore", "degrade"):
        words += rng.choices(SOURCES, k=rng.choices([0, 1, 2, 3], [2, 90, 5, 3])[0])
        option("-o", OUTPUTS, 0.97)
        task = rng.choice(TASKS)
        option("--task", [task], 0.97)
        kind = task.partition(":")[0]
        option("--mask", MASKS, 0.9 if kind == "inpaint" else 0.04)
        option("--scale", ["2", "3", *NUMBERS], 0.9 if kind == "sr" else 0.04)
        option("--kernel", KERNELS, 0.9 if kind == "deblur" else 0.04)
        option("--noise", ["0.05"] * 20 + NUMBERS, 0.6)
        option("--seed", NUMBERS, 0.1)
    if name == "restore":
        option("--steps", ["1", "2"] * 20 + NUMBERS, 1)
        words += ["--prior", rng.choice(PRIORS)]
        option("--solver", SOLVERS, 0.4)
        option("--realism", NUMBERS, 0.08)
        option("--device", DEVICES, 0.08)
        option("--tile", ["64", *NUMBERS], 0.08)
        option("--truth", TRUTHS, 0.1)
        option("--preview", FOLDERS, 0.1)
        option("--report", REPORTS, 0.1)
        option("--on-existing", ["error", "skip", "overwrite", "x"], 0.15)
        option("--replay", RECORDS, 0.04)  # the older form of `replay`
        words += [w for w in ("--recursive", "--fit-mask") if rng.random() < 0.08]
        words += ["--keep-diverged"] if rng.random() < 0.05 else []
    elif name == "sample":
        option("-o", [*OUTPUTS, *["newdir"] * 20], 0.97)
        words += ["--prior", rng.choice(PRIORS), "--steps", rng.choice(["1", "2", *NUMBERS])]
        option("--size", ["8"] * 10 + SIZES, 1)
        option("--count", ["1", "2"] * 5 + NUMBERS, 0.7)
        option("--solver", ["heun", "ddim", "ddpm", "foo", ""], 0.5)
    elif name == "check":
        words.append(rng.choice([task for task in TASKS if ".py" in task]))
        option("--shape", ["3,16,16"] * 10 + SHAPES, 0.97)
    elif name == "show":
        words.append(rng.choice(RECORDS))
    elif name == "junk":
        words = [rng.choice(["restor", "", "-", "RESTORE", "help"]), *rng.choices(JUNK, k=2)]
    if name in ("restore", "degrade", "sample") and rng.random() < 0.15:
        words.append("--force")
    if rng.random() < 0.03:
        words.insert(rng.randint(0, len(words)), rng.choice(JUNK))
    return words


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))  # for several processes
def test_command_lines(cases: Callable[[int], range], tmp_path: Path, part: int) -> None:
    forked.preload()
    root = tmp_path / "box"
    sandbox.build(root)
    before = manifest(tmp_path / "box")
    wrong = []
    for seed in cases(2000)[part::4]:
        words = command_line(random.Random(seed))
        ended = forked.run(words, root)
        after = manifest(root)
        after.pop(str(root / "RAN"), None)  # what code of one's own did
        found = faults(ended, before, after, force="--force" in words or "overwrite" in words)
        if found:
            wrong.append((seed, [word[:60] for word in words], found, ended.text[-400:]))
        if after != before or (root / "RAN").exists():
            sandbox.build(root)
            before = manifest(root)
    assert not wrong, f"{len(wrong)}: " + "\n".join(map(str, wrong[:20]))
