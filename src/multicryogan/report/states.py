"""States of a landscape on the page: free energy, shares and barriers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multicryogan.report.contents import Shapes, path_lengths
from multicryogan.report.figures import (
    PALETTE,
    WAY,
    Figure,
    conformation_names,
    line,
    selecting,
    squares,
)

if TYPE_CHECKING:
    import pandas as pd

HIGHEST = 8.0  # kT that are drawn
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
ENERGY = "free energy (kT)"
Table = tuple[list[str], list[list[str]]]


def free_energy(
    shapes: Shapes, table: pd.DataFrame, states: pd.DataFrame, ways: pd.DataFrame
) -> Figure:
    """Draw the free energy of V conformations and their states; a click selects.

    Args:
        shapes: The same conformations, of one latent or two.
        table: landscape.csv, a row for each.
        states: states.csv.
        ways: ways.csv.
    """
    energy = table["free_energy_kt"].clip(upper=HIGHEST).tolist()
    if shapes.latents.shape[1] == 2:
        return _plane(shapes, energy, states, ways)
    place, names = path_lengths(shapes.volumes).tolist(), conformation_names(shapes)
    hover = "%{text}<br>%{y:.2f} kT<extra>%{fullData.name}</extra>"
    numbers, error = list(range(len(energy))), table["error_kt"].tolist()
    traces = [line(place, energy, "", showlegend=False, hoverinfo="skip", line=FAINT)]
    for state in states["state"].tolist():
        members = [n for n in numbers if table["state"][n] == state]
        look = (state - 1) % len(PALETTE)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"state {state}",
                "x": [place[n] for n in members],
                "y": [energy[n] for n in members],
                "error_y": {"type": "data", "array": [error[n] for n in members]},
                "text": [names[n] for n in members],
                "customdata": members,
                "hovertemplate": hover,
                "marker": {"color": PALETTE[look], "symbol": SYMBOLS[look], "size": 9},
            }
        )
    return selecting(traces, WAY, ENERGY, showlegend=True)


DRAWN = {"color": "#D55E00"}
FAINT = {"color": "#888888", "width": 1}


def _plane(
    shapes: Shapes, energy: list[float], states: pd.DataFrame, ways: pd.DataFrame
) -> Figure:
    first, second = shapes.latents.T.tolist()
    hover = "%{text}<br>%{marker.color:.2f} kT<extra></extra>"
    shown = squares(shapes, energy, conformation_names(shapes), hover, ENERGY)
    shown["marker"]["reversescale"] = True
    traces = [shown]
    for path in ways["conformations"]:
        on = [int(number) - 1 for number in str(path).split()]
        x, y = ([values[n] for n in on] for values in (second, first))
        traces.append(line(x, y, "way", hoverinfo="skip", line=DRAWN))
    lowest = [number - 1 for number in states["conformation"].tolist()]
    named = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [second[n] for n in lowest],
        "y": [first[n] for n in lowest],
        "text": states["state"].astype(str).tolist(),
        "textfont": {"color": "#000000"},
        "marker": {"size": 20, "color": "#ffffff", "line": FAINT},
        "hoverinfo": "skip",
    }
    return selecting([*traces, named], "latent 2", "latent 1")


def shares(states: pd.DataFrame) -> list[tuple[str, str]]:
    """Give share and 95 % interval of each row, in % as text."""
    return [
        (f"{100 * share:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")
        for share, low, high in states[["share", "low", "high"]].itertuples(index=False)
    ]


def tables(states: pd.DataFrame, ways: pd.DataFrame) -> tuple[Table, ...]:
    """Give shares of the states and barriers between them, as text."""
    head = ["state", "particles, %", "95 % interval", "deepest at conformation"]
    known = zip(states["state"], shares(states), states["conformation"], strict=True)
    rows = [[str(number), *share, str(deepest)] for number, share, deepest in known]
    if not len(ways):
        return ((head, rows),)
    passes = [
        "from state",
        "to state",
        "barrier, kT",
        "standard error",
        "conformations",
    ]
    crossed = [
        [
            str(way["from_state"]),
            str(way["to_state"]),
            f"{way['barrier_kt']:.1f}",
            f"{way['error_kt']:.1f}",
            str(len(str(way["conformations"]).split())),
        ]
        for way in ways.to_dict("records")
    ]
    return (head, rows), (passes, crossed)
