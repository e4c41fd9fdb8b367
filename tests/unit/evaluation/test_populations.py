"""The paper's population rule on matrices made by hand."""

import pytest
import torch

from multicryogan.evaluation import mean_map, mean_map_fsc, paper_rule, shares
from multicryogan.evaluation.populations import FIRST, SECOND, TRANSITION


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
