"""The picture of a landscape over one latent and over two."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from multicryogan.inference.landscape import Landscape, State, Way
from multicryogan.report.landscape import plot_landscape


@pytest.mark.parametrize("grid", [(12,), (4, 3), (3, 2, 2)])
def test_a_landscape_becomes_a_picture(tmp_path: Path, grid: tuple[int, ...]) -> None:
    axes = [torch.linspace(0, 1, steps) for steps in grid]
    latents = torch.cartesian_prod(*axes).reshape(-1, len(grid))
    energy = np.abs(np.arange(12) - 5.5)
    states = (
        State(5, tuple(range(6)), 0.6, 0.5, 0.7),
        State(6, tuple(range(6, 12)), 0.4, 0.3, 0.5),
    )
    way = Way((0, 1), (5, 6), 1.0, 0.1)
    found = Landscape(grid, energy, np.full(12, 0.1), states, (way,))
    picture = imread(plot_landscape(found, latents, tmp_path / "l.png"))
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.05
