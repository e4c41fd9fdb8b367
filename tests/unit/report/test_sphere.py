"""The map of the directions of view."""

import math
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from multicryogan.priors import ViewLaw
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.report import plot_views
from multicryogan.report.sphere import _pixels


def test_every_pixel_shows_the_direction_nearest_to_it() -> None:
    longitude, latitude, cell = _pixels()
    assert cell.shape == (len(latitude), len(longitude))
    assert len(cell.unique()) == CELLS
    directions = view_directions(CELLS)
    for i, j in ((3, 7), (60, 120), (80, 10)):
        a, b = float(longitude[j]), float(latitude[i])
        here = torch.tensor(
            [math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)]
        )
        assert int((directions @ here).argmax()) == int(cell[i, j])


@pytest.mark.parametrize("conformations", [1, 21])
def test_views_become_a_picture(tmp_path: Path, conformations: int) -> None:
    counts = torch.rand(conformations, CELLS, generator=torch.Generator())
    law = ViewLaw.of_counts(1e4 * counts)
    latents = torch.linspace(0, 1, conformations)[:, None]
    path = plot_views(law.weights, latents, tmp_path / "views.png")
    picture = imread(path)
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.1
