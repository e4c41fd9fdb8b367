"""When a refinement divides its poses once more, and when it ends."""

import pytest
import torch

from multicryogan.config import RefineConfig
from multicryogan.inference.refine import is_finished
from multicryogan.inference.refinement import Refinement, State
from refinement_data import TREE, refinement


def after(*records: tuple[int, float | None, bool]) -> State:
    """State after iterations: last shell, held-out likelihood, fine poses or not."""
    names = ("shell", "held_out", "fine")
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
    ("records", "is_fine"),
    [
        ([], False),
        ([(4, 1.0, False), (5, 1.0, False), (6, 1.0, False)], False),
        ([(4, 1.0, False), (6, 2.0, False), (6, 2.012, False)], False),
        ([(4, 1.0, False), (6, 2.0, False), (6, 2.008, False)], True),
        ([(6, 2.0, False), (6, 1.0, False)], True),
        ([(6, None, False), (6, None, False)], False),
        ([(6, 2.0, False), (6, 2.0, False), (6, 2.5, True)], True),
        ([(6, None, False)] * 3, False),
        ([(6, None, False)] * 4, True),
        ([(4, None, False)] * 4, False),  # not all shells are in
    ],
)
def test_poses_are_fine_in_the_end(
    records: list[tuple[int, float | None, bool]], is_fine: bool
) -> None:
    """Once nothing is gained, or for the last four of eight iterations."""
    assert of_iterations(8).is_fine(after(*records)) is is_fine


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], False),
        ([(6, 2.0, False), (6, 2.0, False)], False),
        ([(6, 2.0, False), (6, 2.0, False), (6, 2.5, True)], False),
        ([(6, 2.0, False), *[(6, 2.5, True)] * 3], False),
        ([(6, 2.0, False), *[(6, 2.5, True)] * 4], True),
        ([*[(6, 2.5, True)] * 3, (6, 2.512, True)], False),
        ([*[(6, 2.5, True)] * 3, (6, 2.508, True)], True),
        ([(6, None, True)] * 7, False),
        ([(4, 1.0, False)] * 8, True),
    ],
)
def test_it_ends_when_all_is_in_and_nothing_is_gained(
    records: list[tuple[int, float | None, bool]], expected: bool
) -> None:
    """Or after eight iterations."""
    assert is_finished(after(*records), of_iterations(8)) is expected


@pytest.mark.parametrize(("count", "first"), [(2, 1), (4, 2), (10, 6)])
def test_few_iterations_are_fine_for_their_second_half(count: int, first: int) -> None:
    fine = [
        of_iterations(count).is_fine(after(*[(6, None, False)] * done))
        for done in range(count)
    ]
    assert fine == [done >= first for done in range(count)]
