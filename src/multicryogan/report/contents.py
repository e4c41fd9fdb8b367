"""What folders of train, refine, assign and landscape hold for the page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import align_neighbours, widest_step
from multicryogan.fourier import fourier_resize
from multicryogan.inference import (
    LEAKAGE,
    MANIFOLD,
    POPULATIONS,
    VERDICT,
    Likeness,
    load_manifold,
    read_likeness,
    read_series,
)
from multicryogan.inference.findings import ALIKE, FINDINGS
from multicryogan.inference.landscape import STATES, TABLE, WAYS
from multicryogan.inference.refined import CURVES, REPORT, VIEWS
from multicryogan.report.about import read_about
from multicryogan.training import METRICS, QUALITY, SNAPSHOT, load_snapshot
from multicryogan.training.build import has_frame

if TYPE_CHECKING:
    import pandas as pd

SCORES = "evaluation/scores.json"
MOST_BOX = 64  # that the page is given
LINES = 400  # of the training curves


@dataclass(frozen=True, slots=True)
class Shapes:
    """Conformations as they are shown: each laid on its neighbour.

    Attributes:
        volumes: (V, D, D, D), D at most `MOST_BOX`.
        voxel_size: Å.
        latents: (V, d).
        shares: (V,) that sum to one.
        step: Of a line of two states, the last conformation before the step between
            them; None where neighbours are alike.
    """

    volumes: Tensor
    voxel_size: float
    latents: Tensor
    shares: Tensor
    step: int | None


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the page may show; what no folder holds is empty or None."""

    folder: Path
    config: RunConfig
    shapes: Shapes
    verdict: dict[str, Any] = field(default_factory=dict)
    refined: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    leakage: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    halves: pd.DataFrame | None = None
    views: pd.DataFrame | None = None
    populations: pd.DataFrame | None = None
    landscape: pd.DataFrame | None = None
    states: pd.DataFrame | None = None
    ways: pd.DataFrame | None = None
    likeness: Likeness | None = None
    metrics: tuple[dict[str, float], ...] = ()
    quality: tuple[dict[str, float], ...] = ()
    about: tuple[tuple[str, dict[str, Any]], ...] = ()


def gather(folders: list[Path]) -> Contents:
    """Read what there is, each file from the first folder that has it.

    Args:
        folders: The first is of train or refine, and its conformations are shown; the
            others add what they hold.

    Raises:
        InputError: The first is neither, or a file cannot be read.
    """
    folder = folders[0]
    if not any((folder / name).is_file() for name in (MANIFOLD, SNAPSHOT)):
        raise InputError(
            f"{folder} holds neither {MANIFOLD} nor {SNAPSHOT}; give the folder of "
            "refine or train first, that of assign after it"
        )
    load = load_manifold if (folder / MANIFOLD).is_file() else load_snapshot
    config = load(folder)[1]
    return Contents(
        folder,
        config,
        read_shapes(folder, config),
        verdict=_json(_first(folders, VERDICT)),
        refined=_json(_first(folders, REPORT)),
        findings=_json(_first(folders, FINDINGS)),
        leakage=_json(_first(folders, LEAKAGE)),
        scores=_json(_first(folders, SCORES)),
        halves=_table(_first(folders, CURVES)),
        views=_table(_first(folders, VIEWS)),
        populations=_table(_first(folders, POPULATIONS)),
        landscape=_table(_first(folders, TABLE)),
        states=_table(_first(folders, STATES)),
        ways=_table(_first(folders, WAYS)),
        likeness=next(filter(None, map(read_likeness, folders)), None),
        metrics=_lines(_first(folders, METRICS)),
        quality=_lines(_first(folders, QUALITY)),
        about=tuple(
            (one.name, record) for one in folders for record in read_about(one)
        ),
    )


def read_shapes(folder: Path, config: RunConfig) -> Shapes:
    """Read conformations, small enough to be shown, and lay them on each other."""
    series = read_series(folder)
    volumes, voxel_size = series.volumes.float(), series.voxel_size
    box = volumes.shape[-1]
    if box > MOST_BOX:
        volumes = fourier_resize(volumes, MOST_BOX, 3)
        voxel_size *= box / MOST_BOX
    laid, _ = align_neighbours(
        volumes,
        series.latents,
        has_frame=has_frame(config),
        may_jump=not (folder / MANIFOLD).is_file(),
    )
    shares = series.weights.float() / series.weights.float().sum()
    step = None
    if series.latents.shape[1] == 1 and len(laid) > 1:
        place, area = widest_step(laid)
        step = place if area <= ALIKE else None
    return Shapes(laid, voxel_size, series.latents, shares, step)


def path_lengths(volumes: Tensor) -> Tensor:
    """(V,) how far (V, D, D, D) volumes have changed along the line, 0 to 1."""
    steps = (volumes[1:] - volumes[:-1]).square().sum((1, 2, 3)).sqrt()
    length = torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    return length / length[-1].clamp(min=1e-30)


def _first(folders: list[Path], name: str) -> Path | None:
    """Path of a file in the first folder that has it."""
    return next((f / name for f in folders if (f / name).is_file()), None)


def _json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; make it anew") from None
    return found if isinstance(found, dict) else {}


def _table(path: Path | None) -> pd.DataFrame | None:
    import pandas as pd

    if path is None:
        return None
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; make it anew") from None


def _lines(path: Path | None) -> tuple[dict[str, float], ...]:
    """Lines of a .jsonl file, evenly thinned; one that a kill cut short is left out."""
    if path is None:
        return ()
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    every = -(-len(found) // LINES) or 1
    return tuple(found[::every])
