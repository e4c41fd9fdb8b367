"""Pictures of maps: recovered conformations beside the true ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multicryogan.report.plots import save_figure

if TYPE_CHECKING:
    from multicryogan.evaluation.scores import Scores

COLUMNS = 5


def plot_conformations(
    volumes: Tensor, states: Tensor, scores: Scores, path: str | Path
) -> Path:
    """Draw true states above their best-matching recovered conformations.

    Maps are summed along the axis in which the true motion is seen best. The outline
    of the first state is drawn over all pictures, so that motion is seen against it.

    Args:
        volumes: (N, D, D, D) recovered conformations, aligned to the truth.
        states: (M, D, D, D) true densities.
        scores: Scores of these volumes.
        path: PNG file to write.

    Returns:
        The file written.
    """
    from matplotlib.figure import Figure

    count = min(COLUMNS, len(states))
    order = sorted(range(len(states)), key=lambda m: scores.states[m].coordinate)
    picked = [
        order[round(i * (len(states) - 1) / max(count - 1, 1))] for i in range(count)
    ]
    axis = 1 + int(
        torch.stack(
            [states.sum(a).var(0, correction=0).sum() for a in (1, 2, 3)]
        ).argmax()
    )
    rows = (
        ("true", states[picked].sum(axis)),
        ("recovered", volumes[[scores.states[m].match for m in picked]].sum(axis)),
    )
    figure = Figure(figsize=(2.1 * count, 4.7), layout="constrained")
    panels = figure.subplots(2, count, squeeze=False)
    for panel_row, (name, pictures) in zip(panels, rows, strict=True):
        peak = float(pictures.max())
        for panel, picture in zip(panel_row, pictures, strict=True):
            panel.imshow(
                picture.clamp(min=0).numpy(),
                cmap="gray",
                vmin=0,
                vmax=peak,
                interpolation="bicubic",
            )
            panel.contour(
                pictures[0].numpy(), [0.25 * peak], colors="tab:orange", linewidths=1
            )
            panel.set(xticks=[], yticks=[])
        panel_row[0].set_ylabel(name)
    for panel, m in zip(panels[0], picked, strict=True):
        panel.set_title(", ".join(f"{x:.3g}" for x in scores.states[m].coordinate))
    # Two lines: two states make a narrow figure.
    figure.suptitle("projected maps by true coordinate\n(orange: outline of the first)")
    return save_figure(figure, path)
