from __future__ import annotations

import pytest
import torch

from reddiff.linalg import cg, conjugate_gradients, power_iteration


def spd(n: int, rank: int | None = None, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(2, n, rank or n, dtype=torch.float64, generator=generator)
    return root @ root.mT


def apply(matrix: torch.Tensor):
    return lambda v: (matrix @ v.flatten(1).unsqueeze(-1)).view_as(v)


RIGHT = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_cg_solves_what_a_dense_solver_solves():
    matrix = spd(12) + torch.eye(12)
    x = cg(apply(matrix), RIGHT)
    expected = torch.linalg.solve(matrix, RIGHT.flatten(1)).view_as(RIGHT)
    torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)


def test_cg_gives_the_shortest_solution_of_a_singular_system():
    matrix = spd(12, rank=5)
    right = apply(matrix)(RIGHT)
    expected = (torch.linalg.pinv(matrix) @ right.flatten(1).unsqueeze(-1)).view_as(RIGHT)
    torch.testing.assert_close(cg(apply(matrix), right), expected, rtol=1e-7, atol=1e-7)


def test_cg_at_float32_reaches_its_precision():
    matrix = (spd(12) + 12 * torch.eye(12)).float()
    x = cg(apply(matrix), RIGHT.float())
    expected = torch.linalg.solve(matrix.double(), RIGHT.flatten(1)).view_as(RIGHT)
    torch.testing.assert_close(x.double(), expected, rtol=1e-5, atol=1e-6)


def test_cg_has_coefficients_per_lane():
    """A lane converges alone, beside one that is harder, larger, zero, or needs no step."""
    easy, hard = torch.eye(12).double(), spd(12)[0] + 1e-3 * torch.eye(12)
    scales = torch.tensor([1.0, 1e-9, 0.0]).double().view(3, 1, 1)
    right = RIGHT[:1] * scales
    matrix = torch.stack([hard, easy, easy])
    together = cg(apply(matrix), right)
    for i in range(3):
        alone = cg(apply(matrix[i : i + 1]), right[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=0)
    torch.testing.assert_close(together[1], right[1], rtol=1e-12, atol=0)
    assert (together[2] == 0).all()


def test_cg_stops_at_its_tolerance_and_at_its_limit():
    matrix, calls = spd(12) + torch.eye(12), []

    def counted(v: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return apply(matrix)(v)

    rough = cg(counted, RIGHT, tol=1e-2)
    few = len(calls)
    assert few < 13
    residual = RIGHT - apply(matrix)(rough)
    assert (residual.flatten(1).norm(dim=1) < 1e-2 * RIGHT.flatten(1).norm(dim=1)).all()
    calls.clear()
    cg(counted, RIGHT, iterations=3)
    assert len(calls) == 3


def test_flags_say_which_lanes_reached_their_tolerance():
    """A lane that needs more steps, that has a tolerance of its own, or that has no solution."""
    easy = torch.diag(torch.linspace(1, 2, 12)).double()
    matrix = torch.stack([spd(12)[0] + 1e-3 * torch.eye(12), easy, torch.zeros_like(easy)])
    right, tol = RIGHT[:1].expand(3, 3, 4), torch.tensor([1e-8, 0.5, 1e-8]).double()
    few = conjugate_gradients(apply(matrix), right, tol=tol, iterations=4)
    assert few.converged.tolist() == [False, True, False]
    many = conjugate_gradients(apply(matrix), right, tol=tol, iterations=100)
    assert many.converged.tolist() == [True, True, False]
    assert (many.x[2] == 0).all()
    residual = (right - apply(matrix)(many.x)).flatten(1).norm(dim=1)
    assert (residual <= 1.01 * tol * right.flatten(1).norm(dim=1)).tolist() == [True, True, False]
    nothing = conjugate_gradients(apply(matrix), 0 * right)
    assert nothing.converged.all()
    broken = conjugate_gradients(apply(matrix), torch.full_like(right, torch.nan))
    assert not broken.converged.any()


def test_a_start_counts_towards_the_answer():
    matrix = spd(12) + torch.eye(12)
    answer = cg(apply(matrix), RIGHT)
    found = conjugate_gradients(apply(matrix), RIGHT, start=answer, tol=1e-8, iterations=0)
    assert found.converged.all()
    assert torch.equal(found.x, answer)
    far = conjugate_gradients(apply(matrix), RIGHT, start=answer + 1, iterations=0)
    assert not far.converged.any()
    back = conjugate_gradients(apply(matrix), RIGHT, start=answer + 1, tol=1e-10)
    torch.testing.assert_close(back.x, answer, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_power_iteration_finds_the_largest_eigenvalue_of_each_lane(dtype):
    matrix = spd(12).to(dtype)
    matrix[1] *= 100
    like = RIGHT.to(dtype)
    got = power_iteration(apply(matrix), like, iterations=500)
    torch.testing.assert_close(got, torch.linalg.eigvalsh(matrix)[:, -1], rtol=1e-4, atol=0)
    alone = power_iteration(apply(matrix[1:]), like[1:], iterations=500)
    torch.testing.assert_close(got[1:], alone)


def test_power_iteration_of_zero_is_zero():
    assert power_iteration(torch.zeros_like, RIGHT).tolist() == [0, 0]
