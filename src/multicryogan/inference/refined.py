"""A refinement: what is told of it, and its files."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RefineConfig, RunConfig
from multicryogan.evaluation import HalfSetFSC
from multicryogan.inference.manifold_file import save_manifold
from multicryogan.inference.refinement import State
from multicryogan.inference.spacing import weight_table
from multicryogan.io import whole_file, write_volume
from multicryogan.likelihood.manifold import Manifold
from multicryogan.priors.views import CELLS, view_directions
from multicryogan.tables import to_dict

MASK, REPORT, CURVES, VIEWS = "mask.mrc", "refine.json", "fsc.csv", "views.csv"
WEIGHTS = "weights.csv"
LOST = 0.1  # nats of a held-out image


@dataclass(frozen=True, slots=True)
class Refined:
    """What was found, in the end or so far.

    Attributes:
        state: The last one.
        half_maps: (2, V, D, D, D) unfiltered volumes of both halves, on the CPU.
        start: Which start it came from.
        scores: Held-out log-likelihood of every start that was tried, in nats an image.
        curves: Half-set correlation of each conformation.
        last_shell: Last shell that was refined; the maps hold nothing beyond it.
        start_shell: Shell that the start, which both halves share, was low-passed to.
        pose_nats: What it takes to name a pose with half the steps that the last shell
            asks for.
    """

    state: State
    half_maps: Tensor
    start: str
    scores: dict[str, Any]
    curves: tuple[HalfSetFSC, ...]
    last_shell: int
    start_shell: int
    pose_nats: float

    @property
    def warnings(self) -> list[str]:
        """What speaks against the result, in words."""
        return [line for line in (self._bond, self._loss) if line is not None]

    @property
    def _bond(self) -> str | None:
        """Why the halves' agreement is no resolution, if so.

        Expectation-maximisation forgets its start as fast as images tell their poses.
        Where most is left open, the halves agree by the start that they share: at
        -20 dB (1 nat an image) to shell 14, where the map met the truth to shell 8.
        """
        told = sum(self.state.history[-1]["log_likelihood"]) / 2
        if told < self.pose_nats / 2:
            return (
                f"an image tells {told:.1f} nats, and to name its pose takes "
                f"{self.pose_nats:.1f}: the halves still share their start, so that "
                "their agreement gives no resolution; more particles or a larger box "
                "may help"
            )
        shared = self.start_shell + 1
        reach = max(curve.resolution_shell for curve in self.curves)
        if reach <= shared < self.last_shell:
            return (
                f"the halves agree to shell {reach}, no further than the start that "
                "they share: their agreement gives no resolution; more particles may "
                "help"
            )
        return None

    @property
    def _loss(self) -> str | None:
        """How much images that were held out have lost since they were told best."""
        last = self.state.history[-1]
        if last["held_out"] is None:
            return None
        like = [
            record
            for record in self.state.history
            if all(record[key] == last[key] for key in ("shell", "fine"))
        ]
        best = max(like, key=lambda record: record["held_out"])
        if best["held_out"] - last["held_out"] < LOST:
            return None
        return (
            f"images that were held out are explained worse ({last['held_out']:.2f} "
            f"nats) than after iteration {best['iteration']} "
            f"({best['held_out']:.2f}): a false optimum; refine a run of another "
            "--seed, and keep the one that explains them best"
        )

    @property
    def resolutions_angstrom(self) -> list[float]:
        """Gold-standard resolution of each conformation, at best the last shell's.

        Infinite where the halves do not agree, or agree by their start.
        """
        if self._bond is not None:
            return [math.inf] * len(self.curves)
        return [
            max(
                curve.resolution_angstrom,
                curve.box * curve.voxel_size / self.last_shell,
            )
            for curve in self.curves
        ]


def write_refined(
    refined: Refined,
    config: RunConfig,
    settings: RefineConfig,
    voxel_size: float,
    output: Path,
    *,
    is_done: bool = True,
) -> None:
    """Write the maps, the manifold, the curves and refine.json.

    It says there whether that is all, or more iterations are to come.
    """
    import pandas as pd

    state = refined.state
    manifold = state.manifold.to("cpu")
    for number, volume in enumerate(manifold.volumes):
        name = f"conformation_{number + 1:03d}"
        write_volume(output / f"{name}.mrc", volume, voxel_size)
        for half in (0, 1):
            path = output / f"{name}_half{half + 1}_unfil.mrc"
            write_volume(path, refined.half_maps[half, number], voxel_size)
    write_volume(output / MASK, state.solvent.cpu(), voxel_size)
    sigma_angstrom = state.tree.shifts.sigma_px * voxel_size
    imaging = dataclasses.replace(
        config.imaging,
        shift_sigma_angstrom=sigma_angstrom,
        contrast_spread=manifold.contrast_spread,
    )
    focus_mask = settings.focus_mask or config.generator.focus_mask
    generator = dataclasses.replace(config.generator, focus_mask=focus_mask)
    learned = dataclasses.replace(config, imaging=imaging, generator=generator)
    save_manifold(output, manifold, learned, voxel_size)
    shells = list(range(refined.last_shell + 1))
    table: dict[str, list[Any]] = {"shell": shells}
    for number, curve in enumerate(refined.curves, start=1):
        table[f"conformation_{number:03d}"] = curve.corrected[shells].tolist()
    tables = {CURVES: table, VIEWS: view_table(manifold)}
    for name, columns in (tables | {WEIGHTS: weight_table(manifold)}).items():
        with whole_file(output / name) as path:
            pd.DataFrame(columns).to_csv(path, index=False, float_format="%.6g")
    facts = {
        "finished": is_done,
        "start": refined.start,
        "held_out_log_likelihood_of_starts": refined.scores,
        "settings": to_dict(settings),
        "voxel_size": voxel_size,
        "shift_sigma_angstrom": sigma_angstrom,
        "contrast_spread": manifold.contrast_spread,
        "gold_standard_resolution_angstrom": [
            value if math.isfinite(value) else None
            for value in refined.resolutions_angstrom
        ],
        "warnings": refined.warnings,
        "last_shell_angstrom": manifold.basis.shape[-1] * voxel_size / shells[-1],
        "iterations": list(state.history),
    }
    with whole_file(output / REPORT) as path:
        path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def view_table(manifold: Manifold) -> dict[str, Any]:
    """List the density of views over uniform ones: direction, of all, of each."""
    directions, views = view_directions(CELLS), manifold.views
    table: dict[str, Any] = {
        "rot_deg": torch.atan2(directions[:, 1], directions[:, 0]).rad2deg(),
        "tilt_deg": directions[:, 2].clamp(-1, 1).acos().rad2deg(),
        "all": CELLS * views.mean(manifold.weights),
    }
    for number, weights in enumerate(views.weights, start=1):
        table[f"conformation_{number:03d}"] = CELLS * weights
    return {name: column.tolist() for name, column in table.items()}
