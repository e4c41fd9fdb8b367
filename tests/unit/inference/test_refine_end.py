"""When a refinement divides its poses once more, and when it ends."""

import pytest
import torch

from multicryogan.config import RefineConfig
from multicryogan.inference.refine import is_finished
from multicryogan.inference.refinement import Refinement, State
from refinement_data import TREE, refinement


def after(*records: tuple[int, float | None, int]) -> State:
    """State after iterations: last shells, held-out likelihoods, divisions beyond."""
    names = ("shell", "held_out", "finer")
    history = tuple(dict(zip(names, record, strict=True)) for record in records)
    shell = records[-1][0] if records else 3
    return State(
        len(records),
        shell,
        (),
        torch.zeros(0),
        torch.zeros(0),
        TREE,
        history,  # type: ignore[arg-type]
    )


def of_iterations(count: int) -> Refinement:
    """A refinement to shell 6 that never looks at an image."""
    config = RefineConfig(iterations=count)
    return refinement(torch.zeros(4, 12, 12), 1.0, config, held_out=1)


@pytest.mark.parametrize(
    ("records", "finer"),
    [
        ([], 0),
        ([(4, 1.0, 0), (5, 1.0, 0), (6, 1.0, 0)], 0),
        ([(4, 1.0, 0), (6, 2.0, 0), (6, 2.06, 0)], 0),
        ([(4, 1.0, 0), (6, 2.0, 0), (6, 2.04, 0)], 1),
        ([(6, 2.0, 0), (6, 1.0, 0)], 1),
        ([(6, None, 0), (6, None, 0)], 0),
        ([(6, 2.0, 0), (6, 2.0, 0), (6, 2.5, 1)], 1),
        ([(6, None, 0)] * 6, 1),
        ([(4, None, 0)] * 6, 0),  # not all shells are in
    ],
)
def test_poses_are_divided_once_more_in_the_end(
    records: list[tuple[int, float | None, int]], finer: int
) -> None:
    """Once nothing is gained, or for the last two of eight iterations."""
    assert of_iterations(8).finer(after(*records)) == finer


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], False),
        ([(6, 2.0, 0), (6, 2.0, 0)], False),
        ([(6, 2.0, 0), (6, 2.0, 0), (6, 2.5, 1)], False),
        ([(6, 2.0, 0), (6, 2.0, 0), (6, 2.5, 1), (6, 2.56, 1)], False),
        ([(6, 2.0, 0), (6, 2.0, 0), (6, 2.5, 1), (6, 2.54, 1)], True),
        ([(6, None, 1)] * 7, False),
        ([(4, 1.0, 0)] * 8, True),
    ],
)
def test_it_ends_when_all_is_in_and_nothing_is_gained(
    records: list[tuple[int, float | None, int]], expected: bool
) -> None:
    """Or after eight iterations."""
    assert is_finished(after(*records), of_iterations(8)) is expected
