from __future__ import annotations

import pytest
import torch

from reddiff import Cost, Reconstruction, Snapshot, Status
from reddiff.run.diagnostics import Finding

pytestmark = pytest.mark.usefixtures("untyped")


def reconstruction(
    samples: torch.Tensor, status=None, steps=None, data_term=None, findings=()
) -> Reconstruction:
    b, s = samples.shape[:2]
    snapshot = Snapshot("", (b, 4), 0, tuple(range(b)), s, 3, {})
    return Reconstruction(
        x=samples.mean(1),
        samples=samples,
        status=torch.full((b, s), int(Status.COMPLETED)) if status is None else status,
        steps=torch.full((b, s), 3) if steps is None else steps,
        ids=tuple(range(10, 10 + b)),
        history={},
        solver={},
        cost=Cost(evaluations=(3,) * b, vjps=(0,) * b, seconds=1.24, peak_bytes=None),
        snapshot=snapshot,
        residual_ratio=torch.ones(b, s),
        change=torch.zeros(b, s),
        noise_level=torch.zeros(b, s),
        data_term=torch.zeros(b, s) if data_term is None else data_term,
        findings=findings,
    )


SAMPLES = torch.randn(2, 5, 1, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_sentence(status):
    assert status.sentence[0].isupper()
    assert status.sentence.endswith(".")


def test_mean_and_std_are_over_the_runs_of_a_lane():
    result = reconstruction(SAMPLES)
    torch.testing.assert_close(result.mean, SAMPLES.mean(1))
    deviation = (SAMPLES - SAMPLES.mean(1, keepdim=True)).square().sum(1) / 4
    torch.testing.assert_close(result.std, deviation.sqrt())


def test_a_single_run_has_no_spread():
    std = reconstruction(SAMPLES[:, :1]).std
    assert std.shape == (2, 1, 3)
    assert torch.isnan(std).all()


def test_a_report_of_a_run_without_trouble_is_one_line():
    assert reconstruction(SAMPLES).report() == "6 network evaluations in 1.2 s"


def test_a_report_names_every_run_that_did_not_go_through():
    status = torch.full((2, 5), int(Status.CONVERGED))
    status[1, 3], status[0, 0] = int(Status.DIVERGED), int(Status.RUNNING)
    steps = torch.arange(10).view(2, 5)
    lines = reconstruction(SAMPLES, status, steps).report().splitlines()
    assert lines == [
        f"lane 10, run 0, step 0: RUNNING. {Status.RUNNING.sentence}",
        f"lane 11, run 3, step 8: DIVERGED. {Status.DIVERGED.sentence}",
        "6 network evaluations in 1.2 s",
    ]


def test_best_is_the_run_of_the_least_data_term_of_each_lane():
    data_term = torch.tensor([[3.0, 1.0, torch.nan, 2.0, 5.0], [torch.nan, 4.0, 9.0, -1.0, 0.0]])
    best = reconstruction(SAMPLES, data_term=data_term).best
    assert torch.equal(best, torch.stack([SAMPLES[0, 1], SAMPLES[1, 3]]))


def test_best_of_a_lane_whose_runs_all_failed_is_finite():
    data_term = torch.tensor([[torch.nan] * 5, [torch.inf] * 4 + [1.0]])
    best = reconstruction(SAMPLES, data_term=data_term).best
    assert torch.equal(best, torch.stack([SAMPLES[0, 0], SAMPLES[1, 4]]))


def test_best_of_a_single_run_is_it():
    result = reconstruction(SAMPLES[:, :1])
    assert torch.equal(result.best, result.x)


def test_a_report_shows_the_warnings():
    findings = Finding(10, None, "is odd, {}", (0.5,)), Finding(11, 4, "is even")
    result = reconstruction(SAMPLES, findings=findings)
    assert result.warnings == ("lane 10: is odd, 0.5", "lane 11, run 4: is even")
    assert result.report().splitlines()[:2] == list(result.warnings)
