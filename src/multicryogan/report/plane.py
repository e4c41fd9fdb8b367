"""Pictures of a landscape: the latent plane laid on two true coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multicryogan.report.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from multicryogan.evaluation import Occupancy
    from multicryogan.evaluation.order import Order


def plot_plane(order: Order, found: Occupancy, path: str | Path) -> Path:
    """Draw the true occupancy, the recovered ones, and where volumes lie on it.

    Args:
        order: Of the recovered volumes.
        found: Occupancy of the two coordinates.
        path: PNG file to write.

    Returns:
        The file written. Over the true table stands a dot for the best match of each
        volume; lines join neighbours along either axis of a latent plane.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 4.4), layout="constrained")
    panels = figure.subplots(1, 3)
    peak = float(found.true.max())
    tables = (
        ("true, and best matches of the volumes", found.true),
        (f"recovered, correlation {found.correlation:.2f}", found.recovered),
        (
            f"axes relabelled only, {found.relabelled_correlation:.2f}",
            found.relabelled,
        ),
    )
    for axes, (title, table) in zip(panels, tables, strict=True):
        image = axes.imshow(
            table.numpy(),
            origin="lower",
            aspect="auto",
            cmap="viridis",
            vmin=0,
            vmax=1.5 * peak,
            extent=(*_outer(found.second), *_outer(found.first)),
        )
        axes.set(title=title, xlabel="coordinate 2", ylabel="coordinate 1")
    _draw_lattice(panels[0], order)
    figure.colorbar(image, ax=panels, label="share of the particles", shrink=0.85)
    return save_figure(figure, path)


def _draw_lattice(axes: Axes, order: Order) -> None:
    """Join the matches of neighbours: white along latent 1, orange along latent 2."""
    first, second = order.matched_coordinate.T
    axes.plot(second.tolist(), first.tolist(), "o", color="w", markersize=3)
    if order.latents.shape[1] != 2:
        return
    for axis, colour in ((0, "w"), (1, "tab:orange")):
        other = order.latents[:, 1 - axis]
        for value in torch.unique(other):
            line = (other == value).nonzero()[:, 0]
            line = line[order.latents[line, axis].argsort()]
            axes.plot(
                second[line].tolist(), first[line].tolist(), color=colour, linewidth=0.8
            )


def _outer(nodes: Tensor) -> tuple[float, float]:
    """Outer edges of the cells of evenly spaced nodes."""
    half = float(nodes[1] - nodes[0]) / 2
    return float(nodes[0]) - half, float(nodes[-1]) + half
