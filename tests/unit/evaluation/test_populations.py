"""The paper's population rule on matrices made by hand."""

import pytest
import torch

from evaluation_phantoms import hinge
from multicryogan.evaluation import (
    mean_map,
    mean_map_fsc,
    paper_rule,
    shares,
    widest_step,
)
from multicryogan.evaluation.populations import (
    FIRST,
    SECOND,
    TRANSITION,
    relative_rule,
)


def matrix_of(first: list[float], last: list[float]) -> torch.Tensor:
    matrix = torch.ones(len(first), len(first))
    matrix[0], matrix[-1] = torch.tensor(first), torch.tensor(last)
    return matrix


def test_rows_go_to_the_end_they_resemble() -> None:
    matrix = matrix_of([1.0, 0.8, 0.6, 0.4, 0.3], [0.3, 0.4, 0.6, 0.8, 1.0])
    assert paper_rule(matrix).tolist() == [FIRST, FIRST, TRANSITION, SECOND, SECOND]


def test_a_row_like_neither_end_is_in_transition() -> None:
    matrix = matrix_of([1.0, 0.4, 0.1], [0.1, 0.4, 1.0])
    assert paper_rule(matrix).tolist() == [FIRST, TRANSITION, SECOND]


@pytest.mark.parametrize("alike", [-0.1, 0.4, 0.7])
def test_two_states_are_told_apart_however_alike_they_are(alike: float) -> None:
    """With an area of 0.7 between the states the paper's rule finds neither."""
    matrix = matrix_of([1.0, 0.9, alike, alike], [alike, alike, 0.9, 1.0])
    assert relative_rule(matrix).tolist() == [FIRST, FIRST, SECOND, SECOND]


def test_a_third_of_an_even_motion_is_in_transition() -> None:
    rise = torch.linspace(0.4, 1.0, 31)
    labels = relative_rule(matrix_of(rise.flip(0).tolist(), rise.tolist()))
    counts = torch.bincount(labels).tolist()
    assert counts == [10, 10, 11]


def test_a_blend_is_in_transition() -> None:
    matrix = matrix_of([1.0, 0.7, 0.2], [0.2, 0.7, 1.0])
    assert relative_rule(matrix).tolist() == [FIRST, TRANSITION, SECOND]


def test_a_rigid_molecule_has_no_states() -> None:
    assert relative_rule(torch.ones(4, 4)).tolist() == [TRANSITION] * 4


def test_shares_add_the_weights_of_the_labels() -> None:
    labels, weights = torch.tensor([0, 0, 2]), torch.tensor([1.0, 2.0, 5.0])
    assert shares(labels, weights, 3).tolist() == pytest.approx([0.375, 0.0, 0.625])


def test_mean_map_weights_the_states() -> None:
    states = torch.stack((torch.zeros(8, 8, 8), torch.ones(8, 8, 8)))
    mean = mean_map(states, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(mean, torch.full((8, 8, 8), 0.75))


def test_mean_map_of_one_state_is_that_state() -> None:
    states = torch.rand(1, 9, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mean_map_fsc(states, torch.ones(1)), torch.ones(1, 5))


def test_the_widest_step_lies_where_neighbouring_maps_differ_most() -> None:
    first, area = widest_step(hinge(16, [0, 1, 2, 30, 31]))
    assert first == 2
    assert area < 0.9
