"""The picture of a landscape: free energy over one latent, or over two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from multicryogan.report.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from multicryogan.inference import Landscape

HIGHEST = 8.0  # kT that are drawn


def plot_landscape(found: Landscape, latents: Tensor, path: str | Path) -> Path:
    """Draw free energy with its error, the states, and ways between them.

    Args:
        found: Over V conformations.
        latents: (V, d) places; of more than two, the lowest energy over the others.
        path: PNG file to write.

    Returns:
        The file written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.8), layout="constrained")
    axes = figure.subplots()
    places = latents.numpy()
    if places.shape[1] == 1:
        _draw_line(axes, found, places[:, 0])
    else:
        _draw_plane(figure, axes, found, places)
    return save_figure(figure, path)


def _draw_line(axes: Axes, found: Landscape, place: np.ndarray) -> None:
    energy = np.minimum(found.free_energy, HIGHEST)
    axes.fill_between(
        place, energy - found.error, energy + found.error, color="0.85", label="error"
    )
    axes.plot(place, energy, color="0.4")
    for number, state in enumerate(found.states):
        members = list(state.members)
        axes.plot(
            place[members],
            energy[members],
            "o",
            color=f"C{number % 10}",
            label=f"state {number + 1}: {100 * state.share:.0f} %",
        )
    axes.set(xlabel="latent", ylabel="free energy (kT)")
    axes.legend(fontsize="small")


def _draw_plane(
    figure: Figure, axes: Axes, found: Landscape, places: np.ndarray
) -> None:
    others = tuple(range(2, len(found.grid)))
    energy = np.minimum(found.free_energy, HIGHEST).reshape(found.grid).min(others)
    first, second = (places[:, axis].reshape(found.grid).min(others) for axis in (0, 1))
    shown = axes.contourf(first, second, energy, levels=16, cmap="viridis")
    figure.colorbar(shown, ax=axes, label="free energy (kT)")
    for way in found.ways:
        line = places[list(way.conformations)]
        axes.plot(line[:, 0], line[:, 1], color="white", linewidth=1.5)
    for number, state in enumerate(found.states, start=1):
        x, y = places[state.conformation, :2]
        axes.plot(x, y, "o", color="white", markeredgecolor="black")
        text = f"  {number}: {100 * state.share:.0f} %"
        axes.text(x, y, text, color="white", va="center")
    axes.set(xlabel="latent 1", ylabel="latent 2")
