"""Pictures of a run and of its scores, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multicryogan.io import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from multicryogan.evaluation import HalfSetFSC, Scores
    from multicryogan.evaluation.populations import Populations

CURVES = 3  # states in the FSC figure: both ends and the middle
DOTS_PER_INCH = 150


def plot_fsc(scores: Scores, path: str | Path) -> Path:
    """Draw the FSC of a few true states with their best match and the mean map.

    Args:
        scores: Result of `evaluation.score`.
        path: PNG file to write.

    Returns:
        The file written. One colour per state: a full line for the best match, a
        dashed one for the true mean map.
    """
    figure, axes = _figure(7.5, 4.8)
    count = len(scores.states)
    picked = sorted({round(i * (count - 1) / (CURVES - 1)) for i in range(CURVES)})
    for i, m in enumerate(picked):
        state = scores.states[m]
        name = ", ".join(f"{x:.3g}" for x in state.coordinate)
        axes.plot(
            state.recovered.fsc.tolist(), color=f"C{i}", label=f"{name}: best match"
        )
        axes.plot(
            state.mean_map.fsc.tolist(),
            color=f"C{i}",
            linestyle="--",
            label=f"{name}: true mean map",
        )
    _fsc_axes(axes, scores.box, scores.voxel_size)
    axes.legend(title="true state", fontsize="small", loc="lower left")
    return save_figure(figure, path)


def plot_half_sets(found: HalfSetFSC, path: str | Path) -> Path:
    """Draw the correlation of two maps: as they are, masked, and corrected for it.

    Args:
        found: Of two maps.
        path: PNG file to write.

    Returns:
        The file written.
    """
    figure, axes = _figure(7.5, 4.8)
    curves = {
        "in the mask, corrected": (found.corrected, "-"),
        "in the mask": (found.masked, "--"),
        "as they are": (found.unmasked, "--"),
        "in the mask, random phases": (found.randomised, ":"),
    }
    for name, (curve, style) in curves.items():
        axes.plot(curve.tolist(), linestyle=style, label=name)
    _fsc_axes(axes, found.box, found.voxel_size)
    axes.legend(fontsize="small", loc="lower left")
    return save_figure(figure, path)


def plot_fsccc(found: Populations, path: str | Path) -> Path:
    """Draw the FSCCC matrix as it is and after aligning neighbours.

    Args:
        found: Of a latent of one dimension.
        path: PNG file to write.

    Returns:
        The file written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    matrices = (found.fsccc_raw, found.fsccc_aligned)
    titles = ("FSCCC, as recovered", "FSCCC, neighbours aligned")
    low = min(0.5, *(matrix.min().item() for matrix in matrices))
    for axes, matrix, title in zip(panels, matrices, titles, strict=True):
        image = axes.imshow(
            matrix.numpy(force=True), vmin=low, vmax=1, cmap="viridis", origin="lower"
        )
        axes.set(title=title, xlabel="conformation n", ylabel="conformation m")
        axes.locator_params(integer=True)
        figure.colorbar(image, ax=axes, label="area under the FSC", shrink=0.85)
    return save_figure(figure, path)


def plot_order(scores: Scores, path: str | Path) -> Path:
    """Draw the coordinate of the best-matching true state against the latent.

    Args:
        scores: Result of `evaluation.score`.
        path: PNG file to write; one panel per true coordinate.

    Returns:
        The file written. Of several latent axes the best ordering one is drawn.
    """
    from matplotlib.figure import Figure

    from multicryogan.evaluation.order import best_axis

    order = scores.order
    count = order.matched_coordinate.shape[1]
    figure = Figure(figsize=(5.0 * count, 4.2), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for c, axes in enumerate(panels):
        axis = best_axis(order.latents, order.matched_coordinate[:, c])
        truth = [state.coordinate[c] for state in scores.states]
        axes.axhspan(min(truth), max(truth), color="0.92", label="range of the truth")
        axes.plot(
            order.latents[:, axis].tolist(),
            order.matched_coordinate[:, c].tolist(),
            "o",
            markersize=5,
            label="best match",
        )
        name = f" {c + 1}" if count > 1 else ""
        axes.set_xlabel(
            f"latent {axis + 1}" if order.latents.shape[1] > 1 else "latent"
        )
        axes.set_ylabel(f"true coordinate{name} of the best match")
        axes.set_title(
            f"rank correlation {order.rank_correlation[c]:.2f}, "
            f"told by the latent: {order.explained[c]:.2f}"
        )
        axes.legend(fontsize="small", loc="best")
    return save_figure(figure, path)


def plot_preview(
    real: Tensor, simulated: Tensor, volumes: Tensor, path: str | Path
) -> Path:
    """Draw real images above simulated ones above central slices of volumes.

    Args:
        real: (A, D, D) images of particles, as the discriminator sees them.
        simulated: (B, D, D) simulated images on the same grey scale.
        volumes: (C, D, D, D) volumes; the central slice in z is drawn.
        path: PNG file to write.

    Returns:
        The file written; at most eight pictures a row.
    """
    from matplotlib.figure import Figure

    slices = volumes[:, volumes.shape[1] // 2]
    rows = [tensor[:8].detach().cpu() for tensor in (real, simulated, slices)]
    names = ("real", "simulated", "central slices")
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.1 * columns + 0.6, 3.7), layout="constrained")
    panels = figure.subplots(3, columns, squeeze=False)
    images = torch.cat([row.flatten() for row in rows[:2]])
    scales = [grey_range(images), grey_range(images), grey_range(rows[2])]
    for row, name, (low, high), line in zip(rows, names, scales, panels, strict=True):
        for axes in line:
            axes.set(xticks=[], yticks=[], frame_on=False)
        for axes, picture in zip(line, row, strict=False):
            axes.imshow(
                picture.numpy(), cmap="gray", vmin=low, vmax=high, origin="lower"
            )
        line[0].set_ylabel(name)
    return save_figure(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _fsc_axes(axes: Axes, box: int, voxel_size: float) -> None:
    """Give FSC curves their thresholds and axes."""
    for threshold in (0.5, 0.143):
        axes.axhline(threshold, color="0.6", linewidth=0.8, linestyle=":")
    _shell_axes(axes, box, voxel_size)
    axes.set_ylabel("FSC")
    axes.set_ylim(min(-0.05, axes.get_ylim()[0]), 1.05)


def _shell_axes(axes: Axes, box: int, voxel_size: float) -> None:
    """Label x in shells below and in Å above."""
    nyquist = box // 2
    axes.set(xlim=(0, nyquist), xlabel=f"shell (of {box} voxels)")
    top = axes.twiny()
    step = max(1, nyquist // 8)
    shells = list(range(step, nyquist + 1, step))
    top.set_xlim(0, nyquist)
    top.set_xticks(shells, [f"{box * voxel_size / s:.3g}" for s in shells])
    top.set_xlabel("resolution (Å)")


def grey_range(values: Tensor) -> tuple[float, float]:
    """Give the grey scale that covers all but the most extreme percent of values."""
    flat = values.flatten().float()
    if len(flat) == 0:
        return 0.0, 1.0
    rank = max(1, len(flat) // 200)
    low = flat.kthvalue(rank).values.item()
    high = flat.kthvalue(len(flat) - rank + 1).values.item()
    return low, high if high > low else low + 1


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a PNG whole or not at all."""
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH)
    return Path(path)
