"""Figures of the page, as plotly's plain data: traces and a layout.

Colours of text, grid and background are the page's, which has a light and a dark side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from multicryogan.evaluation import fsccc
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.report.contents import Shapes, path_lengths
from multicryogan.report.plots import grey_range

if TYPE_CHECKING:
    import pandas as pd

    from multicryogan.inference import Likeness

Figure = dict[str, Any]
# Okabe and Ito's, of curves and states.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
WIDE = 20.0  # ratio of densities from which their axis is logarithmic
DEEP = 1e5  # and how far it reaches down
LONGITUDES, LATITUDES = 90, 45  # of the map of views
GAP = 1  # pixels between pictures
WAY = "change of the map since the first, 0 to 1"


def line(x: Sequence[float], y: Sequence[float], name: str, **more: Any) -> Figure:  # noqa: ANN401
    """Draw a curve."""
    values = {"x": list(x), "y": list(y), "name": name}
    return {"type": "scatter", "mode": "lines", **values, **more}


def figure(traces: list[Figure], x: str, y: str, **more: Any) -> Figure:  # noqa: ANN401
    """Put traces on two titled axes."""
    layout: Figure = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for name, values in more.items():
        own = layout.get(name)
        layout[name] = {**own, **values} if isinstance(own, dict) else values
    return {"data": traces, "layout": layout}


def selecting(traces: list[Figure], x: str, y: str, **more: Any) -> Figure:  # noqa: ANN401
    """Put traces on axes where a click selects the conformation in `customdata`."""
    layout = {"showlegend": False, "meta": {"selects": True}, **more}
    return figure(traces, x, y, **layout)


def landscape(shapes: Shapes, populations: pd.DataFrame | None) -> Figure:
    """Density of particles over the conformations; a click selects one."""
    if shapes.latents.shape[1] == 2:
        return _plane(shapes, populations)
    place = path_lengths(shapes.volumes)
    width = cell_widths(place)
    share = shapes.shares
    bars: Figure = {}
    if populations is not None:
        low, high = torch.tensor(populations[["low", "high"]].to_numpy()).T
        bars = {
            "type": "data",
            "symmetric": False,
            "array": ((high - share).clamp(min=0) / width).tolist(),
            "arrayminus": ((share - low).clamp(min=0) / width).tolist(),
        }
    density = share / width
    density = density.clamp(min=float(density.max()) / DEEP)  # emptier is drawn there
    dots = {"mode": "lines+markers", "customdata": list(range(len(share)))}
    tips = {"text": conformation_names(shapes), "hovertemplate": HOVER}
    trace = line(place.tolist(), density.tolist(), "particles", **dots, **tips)
    if bars:
        trace["error_y"] = bars
    axis = _density_axis(density)
    return selecting([trace], WAY, "density of particles", yaxis=axis)


def _density_axis(density: Tensor) -> Figure:
    """Draw densities from zero, or logarithmically over some decades."""
    low, most = float(density.min()), float(density.max())
    if most < WIDE * low:
        return {"type": "linear", "rangemode": "tozero"}
    ends = [math.log10(low) - 0.3, math.log10(most) + 0.5]
    return {"type": "log", "range": ends, "exponentformat": "power"}


HOVER = "%{text}<br>at %{x:.2f}, density %{y:.3g}<extra></extra>"


def cell_widths(place: Tensor) -> Tensor:
    """(V,) length that each of V places on a line stands for; they sum to one."""
    if len(place) < 2:
        return torch.ones_like(place)
    middle = (place[1:] + place[:-1]) / 2
    ends = torch.cat((place[:1], middle, place[-1:]))
    width = (ends[1:] - ends[:-1]).clamp(min=1e-6)
    width[0], width[-1] = 2 * width[0], 2 * width[-1]  # cells reach beyond the ends
    return width / width.sum()


def _plane(shapes: Shapes, populations: pd.DataFrame | None) -> Figure:
    """Shares over two latents."""
    percent, names = (100 * shapes.shares).tolist(), conformation_names(shapes)
    if populations is not None:
        low, high = ((100 * populations[name]).tolist() for name in ("low", "high"))
        ends = zip(names, low, high, strict=True)
        names = [f"{name}<br>95 %: {a:.2f} to {b:.2f} %" for name, a, b in ends]
    hover = "%{text}<br>share: %{marker.color:.2f} %<extra></extra>"
    trace = squares(shapes, percent, names, hover, "% of particles")
    trace["marker"]["cmin"] = 0
    return selecting([trace], "latent 2", "latent 1")


def squares(
    shapes: Shapes, values: list[float], names: list[str], hover: str, title: str
) -> Figure:
    """Draw a value of each conformation on two latents; see `selecting`."""
    first, second = shapes.latents.T.tolist()
    return {
        "type": "scatter",
        "mode": "markers",
        "x": second,
        "y": first,
        "customdata": list(range(len(values))),
        "text": names,
        "hovertemplate": hover,
        "marker": {
            "symbol": "square",
            "size": 18,
            "color": values,
            "colorscale": "Viridis",
            "colorbar": {"title": {"text": title}},
        },
    }


def likeness_of_pairs(shapes: Shapes) -> Figure:
    """FSCCC of all pairs, neighbours aligned (equation 7)."""
    matrix = fsccc(shapes.volumes)
    numbers = list(range(1, len(matrix) + 1))
    trace = {
        "type": "heatmap",
        "x": numbers,
        "y": numbers,
        "z": _rounded(matrix, 3),
        "colorscale": "Viridis",
        "zmax": 1,
        "zmin": min(0.5, float(matrix.min())),
        "colorbar": {"title": {"text": "FSC area"}},
        "hovertemplate": "%{x} with %{y}: %{z:.3f}<extra></extra>",
    }
    axis = {"constrain": "domain"}
    square = {"scaleanchor": "x", **axis}
    return figure([trace], "conformation n", "conformation m", xaxis=axis, yaxis=square)


def images(likeness: Likeness) -> Figure:
    """Real images above simulated ones, on one grey scale."""
    both = [torch.from_numpy(x) for x in (likeness.simulated, likeness.real)]
    low, high = grey_range(torch.cat([x.flatten() for x in both]))
    rows = [_mosaic(pictures) for pictures in both]
    width = max(row.shape[1] for row in rows)
    gap = torch.full((2 * GAP, width), torch.nan)
    rows = [pad(row, (0, width - row.shape[1]), value=torch.nan) for row in rows]
    whole = torch.cat((rows[0], gap, rows[1]))
    box = both[0].shape[-1]
    trace = {
        "type": "heatmap",
        "z": _rounded(whole, 2),
        "colorscale": [[0, "#000000"], [1, "#ffffff"]],  # protein is bright
        "zmin": low,
        "zmax": high,
        "showscale": False,
        "hoverinfo": "skip",
    }
    names = {
        "tickvals": [box / 2, 1.5 * box + 2 * GAP],
        "ticktext": ["simulated", "real"],
        "scaleanchor": "x",
        "constrain": "domain",
        "showgrid": False,
        "zeroline": False,
    }
    bare = {"visible": False, "constrain": "domain"}
    return figure([trace], "", "", xaxis=bare, yaxis=names)


def _mosaic(pictures: Tensor) -> Tensor:
    """(D, W) pictures side by side, with gaps of NaN."""
    padded = pad(pictures, (0, GAP), value=torch.nan)
    return torch.cat(list(padded), dim=1)


def training(metrics: Sequence[dict[str, float]]) -> Figure:
    """Loss and margin of the discriminator over the images seen."""
    seen = [one["images_seen"] for one in metrics]
    names = {"discriminator_loss": "loss of the discriminator", "margin": "margin"}
    traces = [line(seen, [one[k] for one in metrics], v) for k, v in names.items()]
    return figure(traces, "images seen", "score")


def quality(lines: Sequence[dict[str, float]]) -> Figure:
    """Log-likelihood of held-out images over the images seen, with its error."""
    seen, height = ([one[k] for one in lines] for k in ("images_seen", "held_out"))
    bars = {"type": "data", "array": [one["standard_error"] for one in lines]}
    curve = line(seen, height, "held out", mode="lines+markers")
    axes = "images seen", "log-likelihood, nats an image"
    return figure([{**curve, "error_y": bars}], *axes)


def iterations(history: Sequence[dict[str, Any]]) -> Figure:
    """Log-likelihood of the halves' own and of held-out images per iteration."""
    numbers = [one["iteration"] for one in history]
    own = [sum(one["log_likelihood"]) / 2 for one in history]
    traces = [line(numbers, own, "images of the halves", mode="lines+markers")]
    held = [one["held_out"] for one in history]
    if None not in held:
        traces.append(line(numbers, held, "held out", mode="lines+markers"))
    axis = {"dtick": 1}
    return figure(traces, "iteration", "log-likelihood, nats an image", xaxis=axis)


def views(table: pd.DataFrame, column: str) -> Figure:
    """Density of views over uniform ones, on an equal-area map of the sphere."""
    longitude = (torch.arange(LONGITUDES) + 0.5) * 360 / LONGITUDES - 180
    height = (torch.arange(LATITUDES) + 0.5) * 2 / LATITUDES - 1
    angle, flat = longitude.deg2rad(), (1 - height.square()).sqrt()[:, None]
    direction = torch.stack(
        (
            flat * angle.cos(),
            flat * angle.sin(),
            height[:, None].expand(-1, LONGITUDES),
        ),
        dim=-1,
    )
    cell = (direction @ view_directions(CELLS).T).argmax(-1)
    density = torch.tensor(table[column].to_numpy())[cell]
    trace = {
        "type": "heatmap",
        "x": longitude.tolist(),
        "y": height.tolist(),
        "z": _rounded(density, 3),
        "colorscale": "Viridis",
        "zmin": 0,
        "zmax": max(2.0, float(density.max())),
        "colorbar": {"title": {"text": "uniform = 1"}},
        "hovertemplate": "rot %{x:.0f}°<br>density %{z:.2f}<extra></extra>",
    }
    tilts = (0, 45, 90, 135, 180)
    axis = {
        "tickvals": [float(torch.tensor(t).deg2rad().cos()) for t in tilts],
        "ticktext": [f"{t}°" for t in tilts],
    }
    return figure([trace], "rot (degrees)", "tilt", yaxis=axis)


def conformation_names(shapes: Shapes) -> list[str]:
    """Name each conformation by its number and its latent."""
    return [
        f"conformation {number}: latent " + ", ".join(f"{x:.2f}" for x in latent)
        for number, latent in enumerate(shapes.latents.tolist(), start=1)
    ]


def _rounded(values: Tensor, digits: int) -> list[list[float]]:
    """Give rows of short numbers."""
    return [[round(x, digits) for x in row] for row in values.tolist()]
