"""Path, schedules, solvers: against closed forms."""

import math

import pytest
import torch

from omnitalk_cli.dit.flow import (
    SCHEDULES,
    integrate,
    interpolate,
    logit_normal_time,
    sway,
    time_grid,
    velocity_from_data,
)


def test_path_ends_in_noise_and_data() -> None:
    noise, data = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.equal(interpolate(noise, data, torch.tensor(0.0)), noise)
    assert torch.equal(interpolate(noise, data, torch.tensor(1.0)), data)


def test_data_prediction_is_the_paths_velocity() -> None:
    noise, data = torch.randn(5, 7), torch.randn(5, 7)
    state = interpolate(noise, data, torch.tensor(0.3))
    torch.testing.assert_close(velocity_from_data(data, state, 0.3), data - noise)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [5, 7, 16])
def test_schedules_rise_from_zero_to_one(schedule: str, steps: int) -> None:
    grid = time_grid(schedule, steps)
    assert len(grid) == steps + 1
    assert grid[0] == 0.0 and math.isclose(grid[-1], 1.0, abs_tol=1e-12)
    assert all(a < b for a, b in zip(grid[:-1], grid[1:], strict=True))


def test_sway_follows_its_formula_and_starts_slowly() -> None:
    t = torch.tensor(0.5)
    assert float(sway(t)) == pytest.approx(1 - math.cos(math.pi / 4))
    grid = time_grid("sway", 8)
    assert grid[1] < 1 / 8


def test_seven_step_epss_is_the_published_one() -> None:
    unswayed = [0, 2, 4, 6, 8, 16, 24, 32]
    expected = [1 - math.cos(math.pi / 2 * x / 32) for x in unswayed]
    assert time_grid("epss", 7) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("schedule", "steps"), [("uniform", 0), ("epss", 9), ("cosine", 8)])
def test_impossible_schedules_are_refused(schedule: str, steps: int) -> None:
    with pytest.raises(ValueError, match=r"step|schedule"):
        time_grid(schedule, steps)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2)])
def test_solvers_have_their_order_on_exponential_growth(solver: str, order: int) -> None:
    def error(steps: int) -> float:
        start = (torch.ones(1, dtype=torch.float64),)
        end = integrate(lambda x, t: (x[0],), start, time_grid("uniform", steps), solver=solver)
        return abs(float(end[0]) - math.e)

    assert error(64) / error(128) == pytest.approx(2**order, rel=0.1)


def test_straight_paths_are_solved_in_one_step() -> None:
    noise, data = torch.randn(4, 6), torch.randn(4, 6)
    (end,) = integrate(
        lambda x, t: (velocity_from_data(data, x[0], t),), (noise,), time_grid("uniform", 1)
    )
    torch.testing.assert_close(end, data)


def test_logit_normal_times() -> None:
    generator = torch.Generator().manual_seed(0)
    times = logit_normal_time(20_000, mean=0.0, std=1.0, uniform_share=0.0, generator=generator)
    logits = torch.logit(times)
    assert float(logits.mean()) == pytest.approx(0, abs=0.03)
    assert float(logits.std()) == pytest.approx(1, abs=0.03)
