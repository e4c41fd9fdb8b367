"""The directions that particles are seen from, as a map of the sphere."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from multicryogan.priors.views import CELLS, view_directions
from multicryogan.report.plots import save_figure

DEGREES = 2.0  # of a pixel of the map
MOST = 9  # maps in a picture


def plot_views(weights: Tensor, latents: Tensor, path: str | Path) -> Path:
    """Draw the density of views over that of uniform ones, for some conformations.

    Args:
        weights: (V, K) of K directions for each conformation, as of `ViewLaw`.
        latents: (V, d) of the conformations.
        path: PNG file to write.

    Returns:
        The file written: maps in Mollweide's projection, which keeps areas; longitude
        is RELION's rot, colatitude tilt.
    """
    from matplotlib.figure import Figure

    count = min(MOST, len(weights))
    rows = torch.linspace(0, len(weights) - 1, count).round().long()
    columns = min(3, count)
    height = math.ceil(count / columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * height + 0.6), layout="constrained")
    longitude, latitude, cell = _pixels()
    density = CELLS * weights[rows]
    top = max(2.0, float(density.max()))
    for number, row in enumerate(rows.tolist()):
        axes = figure.add_subplot(height, columns, number + 1, projection="mollweide")
        shown = axes.pcolormesh(
            longitude.numpy(),
            latitude.numpy(),
            density[number][cell].numpy(),
            cmap="viridis",
            vmin=0,
            vmax=top,
            rasterized=True,
        )
        axes.set(xticks=[], yticks=[])
        if count > 1:
            name = ", ".join(f"{x:.2f}" for x in latents[row].tolist())
            axes.set_title(f"latent {name}", fontsize="small")
    figure.colorbar(
        shown, ax=figure.axes, label="views, uniform = 1", shrink=0.7, aspect=30
    )
    return save_figure(figure, path)


def _pixels() -> tuple[Tensor, Tensor, Tensor]:
    """Longitudes (X,), latitudes (Y,) in radians, and the cell at each (Y, X)."""
    half = math.radians(DEGREES) / 2
    longitude = torch.arange(-math.pi + half, math.pi, 2 * half)
    latitude = torch.arange(-math.pi / 2 + half, math.pi / 2, 2 * half)
    b, a = torch.meshgrid(latitude, longitude, indexing="ij")
    direction = torch.stack((b.cos() * a.cos(), b.cos() * a.sin(), b.sin()), dim=-1)
    return longitude, latitude, (direction @ view_directions(CELLS).T).argmax(-1)
