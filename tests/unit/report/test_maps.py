"""Maps beside the truth are drawn whole, few states or many."""

from pathlib import Path

import pytest
import torch

from evaluation_phantoms import hinge
from multicryogan.evaluation import apply_alignment, score
from multicryogan.report.maps import plot_conformations


@pytest.mark.parametrize("count", [1, 2, 7])
def test_conformations_are_drawn_for_any_number_of_states(
    tmp_path: Path, count: int
) -> None:
    coordinates = torch.linspace(0, 40, count)
    states, weights = hinge(16, coordinates.tolist()), torch.ones(count)
    latents = torch.linspace(0, 1, count)
    scores = score(states, latents, weights, states, coordinates, weights, 10.0)
    laid = apply_alignment(states, scores.alignment)
    path = plot_conformations(laid, states, scores, tmp_path / "maps.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [p.name for p in tmp_path.iterdir()] == ["maps.png"]
