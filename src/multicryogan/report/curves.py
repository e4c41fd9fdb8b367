"""Curves of the page over resolution: half maps, truth, and power of images."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from multicryogan.evaluation import fsc
from multicryogan.report.contents import Shapes
from multicryogan.report.figures import PALETTE, Figure, figure, line

if TYPE_CHECKING:
    import pandas as pd

    from multicryogan.inference import Likeness

GOLD_STANDARD = 0.143
LOWEST = -0.3  # that is drawn: of noise, corrections for the mask give anything
SHOWN = 3  # curves: both ends and the middle


def half_curves(table: pd.DataFrame, shapes: Shapes, box_angstrom: float) -> Figure:
    """FSC of the halves for a few conformations, each beside its FSC with the mean."""
    finest = (table["shell"] / box_angstrom).tolist()
    columns = [name for name in table.columns if name != "shell"]
    mean = torch.einsum("v,vzyx->zyx", shapes.shares, shapes.volumes)[None]
    traces = []
    for number, colour in zip(_picked(len(columns)), range(SHOWN), strict=False):
        style = {"line": {"color": PALETTE[colour]}}
        curve, name = table[columns[number]].tolist(), f"conformation {number + 1}"
        traces.append(fsc_curve(finest, curve, name, **style))
        if len(columns) != len(shapes.volumes):
            continue
        own = fsc(shapes.volumes[number][None], mean)[0][:-1].tolist()
        style = {"line": {"color": PALETTE[colour], "dash": "dot"}}
        label = f"{name}, with the mean map"
        traces.append(fsc_curve(finest, own, label, showlegend=False, **style))
    return _of_resolution(traces, len(finest), box_angstrom)


def true_curves(scores: dict[str, Any]) -> Figure:
    """FSC of a few true states with their best matches and with the true mean map."""
    states = scores["own_frames"]["states"]
    box_angstrom = scores["box"] * scores["voxel_size"]
    traces = []
    for number, colour in zip(_picked(len(states)), range(SHOWN), strict=False):
        state = states[number]
        name = "coordinate " + ", ".join(f"{x:.3g}" for x in state["coordinate"])
        kinds = {"": ("recovered", "solid"), ", true mean map": ("mean_map", "dot")}
        for label, (key, dash) in kinds.items():
            curve = state[key]["fsc"]
            places = [s / box_angstrom for s in range(len(curve))]
            style = {"color": PALETTE[colour], "dash": dash}
            is_named = label == ""
            traces.append(
                fsc_curve(
                    places, curve, f"{name}{label}", line=style, showlegend=is_named
                )
            )
    return _of_resolution(traces, scores["box"] // 2 + 1, box_angstrom)


def fsc_curve(
    places: Sequence[float],
    values: Sequence[float],
    name: str,
    **more: Any,  # noqa: ANN401
) -> Figure:
    """Draw a curve over places in 1/Å, whose tips are in Å."""
    hover = "%{customdata} Å: %{y:.3f}<extra>%{fullData.name}</extra>"
    tips = {"customdata": in_angstrom(places[: len(values)]), "hovertemplate": hover}
    return line(places[: len(values)], values[: len(places)], name, **tips, **more)


def in_angstrom(places: Sequence[float]) -> list[str]:
    """Give places in 1/Å as text in Å."""
    return [f"{1 / place:.3g}" if place > 0 else "∞" for place in places]


def _of_resolution(traces: list[Figure], shells: int, box_angstrom: float) -> Figure:
    """Draw FSC curves over 1/Å, labelled in Å."""
    shown = {"range": [max(LOWEST, min(-0.05, *(min(t["y"]) for t in traces))), 1.05]}
    return figure(
        traces,
        "resolution (Å)",
        "FSC",
        xaxis=_angstrom_ticks(shells, box_angstrom),
        yaxis=shown,
        shapes=_levels(GOLD_STANDARD, 0.5),
    )


def _levels(*heights: float) -> list[Figure]:
    """Draw dashed lines across a figure."""
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": height,
            "y1": height,
            "line": {"dash": "dash", "width": 1, "color": "#888888"},
        }
        for height in heights
    ]


def _angstrom_ticks(shells: int, box_angstrom: float) -> Figure:
    """Label an axis of 1/Å, over so many shells, in Å."""
    step = max(1, shells // 8)
    ticks = range(step, shells, step)
    return {
        "tickvals": [s / box_angstrom for s in ticks],
        "ticktext": [f"{box_angstrom / s:.3g}" for s in ticks],
    }


def noise(likeness: Likeness) -> Figure:
    """Power of simulated over that of real images, per shell and optics group."""
    size = 2 * (likeness.power.shape[-1] - 1) * likeness.pixel_size
    traces = []
    for number, name in enumerate(likeness.groups):
        real, own = likeness.power[:, number, 1:]
        spread = likeness.error[:, number, 1:]
        ratio = own / real
        error = ratio * ((spread[0] / real) ** 2 + (spread[1] / own) ** 2) ** 0.5
        places = [s / size for s in range(1, len(ratio) + 1)]
        # Plotly takes some markup in names.
        label = html.escape(name) if len(likeness.groups) > 1 else "all images"
        curve = fsc_curve(places, ratio.tolist(), label, mode="lines+markers")
        bars = {"type": "data", "array": error.tolist()}
        traces.append({**curve, "error_y": bars})
    axis = _angstrom_ticks(likeness.power.shape[-1], size)
    return figure(
        traces,
        "resolution (Å)",
        "power, simulated / real",
        xaxis=axis,
        shapes=_levels(1.0),
    )


def power_ratios(likeness: Likeness) -> list[tuple[str, float]]:
    """Name the optics groups, with the median over shells of that ratio."""
    real, own = likeness.power[:, :, 1:]
    several = len(likeness.groups) > 1
    names = [f" of optics group {x}" if several else "" for x in likeness.groups]
    ratios: list[float] = np.median(own / real, axis=-1).tolist()
    return list(zip(names, ratios, strict=True))


def _picked(count: int) -> list[int]:
    """Take both ends and the middle."""
    return sorted({round(i * (count - 1) / (SHOWN - 1)) for i in range(SHOWN)})
