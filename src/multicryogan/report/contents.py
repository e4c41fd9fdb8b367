"""What folders of train, refine, assign and landscape hold for the page."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import align_neighbours, inner_shells, widest_step
from multicryogan.fourier import fourier_resize
from multicryogan.inference import (
    LEAKAGE,
    MANIFOLD,
    NPZ,
    POPULATIONS,
    Likeness,
    Series,
    load_manifold,
    read_likeness,
    read_series,
    read_verdict,
)
from multicryogan.inference.findings import ALIKE, FINDINGS
from multicryogan.inference.landscape import STATES, TABLE, WAYS
from multicryogan.inference.refined import CURVES, REPORT, VIEWS
from multicryogan.io import read_facts, read_table
from multicryogan.priors.views import CELLS
from multicryogan.report.about import read_about
from multicryogan.training import METRICS, QUALITY, SNAPSHOT, load_snapshot
from multicryogan.training.build import has_frame

if TYPE_CHECKING:
    import pandas as pd

SCORES = "evaluation/scores.json"
MOST_BOX = 64  # that the page is given
LINES = 400  # of the training curves
KNOWN = (MANIFOLD, SNAPSHOT, NPZ, TABLE)  # one of them is in each folder
ANEW = "make it anew, or delete it"
REFINED = ("finished", "iterations", "settings", "last_shell_angstrom")
SHARE = ("share", "low", "high")
PASSES = ("from_state", "to_state", "barrier_kt", "error_kt", "conformations")
GAME = ("images_seen", "discriminator_loss", "margin")
TOLD = ("images_seen", "held_out", "standard_error")
NEAR = 1e-3  # latents of the same conformation, as they are written


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
    """Read what there is.

    Args:
        folders: The first is of train or refine: its conformations are shown, and what
            it says of them. The others add what they hold, the first that has it.

    Raises:
        InputError: The first is neither, or a file cannot be read.
    """
    folder = folders[0]
    if not any((folder / name).is_file() for name in (MANIFOLD, SNAPSHOT)):
        raise InputError(
            f"{folder} holds neither {MANIFOLD} nor {SNAPSHOT}; give the folder of "
            "refine or train first, that of assign after it"
        )
    for other in folders[1:]:
        if not any((other / name).is_file() for name in KNOWN):
            raise InputError(
                f"{other} is no folder of train, refine, assign or landscape; leave it "
                "away, or give one of the same particles"
            )
    load = load_manifold if (folder / MANIFOLD).is_file() else load_snapshot
    config = load(folder)[1]
    series = read_series(folder)
    populations = _table(_first(folders, POPULATIONS), *SHARE)
    if populations is not None and not is_of(populations, series.latents):
        populations = None
    return Contents(
        folder,
        config,
        lay(series, config, populations, may_jump=load is load_snapshot),
        verdict=read_verdict(folder),
        refined=_facts(folder / REPORT, *REFINED),
        findings=_facts(_first(folders, FINDINGS), "cut", "shares"),
        leakage=_facts(_first(folders, LEAKAGE), "found"),
        scores=_facts(folder / SCORES, "own_frames", "box", "voxel_size"),
        halves=_table(folder / CURVES, "shell"),
        views=_views(folder / VIEWS),
        populations=populations,
        landscape=_table(_first(folders, TABLE), "free_energy_kt", "error_kt", "state"),
        states=_table(_first(folders, STATES), "state", "conformation", *SHARE),
        ways=_table(_first(folders, WAYS), *PASSES),
        likeness=read_likeness(folder),
        metrics=_lines(_first(folders, METRICS), *GAME),
        quality=_lines(_first(folders, QUALITY), *TOLD),
        about=tuple(
            (one.name, record) for one in folders for record in read_about(one)
        ),
    )


def is_of(populations: pd.DataFrame, latents: Tensor) -> bool:
    """Tell whether populations.csv is of conformations at (V, d) latents."""
    columns = [name for name in populations.columns if name.startswith("latent_")]
    own = torch.tensor(populations[columns].to_numpy(), dtype=latents.dtype)
    return own.shape == latents.shape and bool((own - latents).abs().max() < NEAR)


def lay(
    series: Series,
    config: RunConfig,
    populations: pd.DataFrame | None,
    *,
    may_jump: bool,
) -> Shapes:
    """Lay conformations on each other, small enough to be shown.

    Their shares are those of the populations if there are any, or else their own.
    """
    volumes, voxel_size = series.volumes.float(), series.voxel_size
    box = volumes.shape[-1]
    if box > MOST_BOX:
        volumes = fourier_resize(volumes, MOST_BOX, 3)
        voxel_size *= box / MOST_BOX
    laid, _ = align_neighbours(
        volumes, series.latents, has_frame=has_frame(config), may_jump=may_jump
    )
    shares = series.weights.float()
    if populations is not None:
        shares = torch.tensor(populations["share"].to_numpy(), dtype=torch.float32)
    step = None
    if series.latents.shape[1] == 1 and len(laid) > 1:
        place, area = widest_step(laid)
        step = place if area <= ALIKE else None
    return Shapes(laid, voxel_size, series.latents, shares / shares.sum(), step)


def path_lengths(volumes: Tensor) -> Tensor:
    """(V,) how far (V, D, D, D) laid volumes have changed along the line, 0 to 1."""
    inner = inner_shells(volumes)
    steps = (inner[1:] - inner[:-1]).square().sum((1, 2, 3)).sqrt()
    length = torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    return length / length[-1].clamp(min=1e-30)


def _first(folders: list[Path], name: str) -> Path:
    """Path of a file in the first folder that has it; in none, it is missing."""
    return next((f / name for f in folders if (f / name).is_file()), folders[0] / name)


def _facts(path: Path, *needed: str) -> dict[str, Any]:
    """Read a file of facts, of which these are needed; empty where there is none."""
    return read_facts(path, needed, ANEW)


def _table(path: Path, *needed: str) -> pd.DataFrame | None:
    """Read a table, of which these columns are needed; None where there is none."""
    return read_table(path, needed, ANEW) if path.is_file() else None


def _views(path: Path) -> pd.DataFrame | None:
    """Read the table of all directions of view."""
    found = _table(path, "all")
    if found is not None and len(found) != CELLS:
        raise InputError(
            f"cannot read {path}: it has {len(found)} of {CELLS} directions of view; "
            f"{ANEW}"
        )
    return found


def _lines(path: Path, *needed: str) -> tuple[dict[str, float], ...]:
    """Lines of a .jsonl file, evenly thinned; broken ones, cut by a kill, are left out.

    The last is kept.
    """
    if not path.is_file():
        return ()
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and all(name in record for name in needed):
                found.append(record)
    every = -(-len(found) // LINES) or 1
    return tuple(found[::-1][::every][::-1])
