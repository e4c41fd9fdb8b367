"""`multicryogan evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.folders import result_folder
from multicryogan.errors import InputError

SCORES = "scores.json"

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.evaluation import Scores
    from multicryogan.synthetic import Truth


def evaluate(
    run: Annotated[Path, Parameter(help="Folder made by train, refine or assign.")],
    *,
    truth: Annotated[Path, Parameter(help="Folder made by simulate.")],
    output: Annotated[
        Path | None,
        Parameter(name=["-o", "--output"], help="Folder to write; RUN/evaluation."),
    ] = None,
    threads: options.Threads = 0,
) -> int:
    """Compare a run's conformations with the truth, beside the mean-map baseline.

    Prints a table and writes scores.json, table.txt and pictures of the FSC curves, of
    the FSCCC matrices of a line, of matched against true coordinate, of the occupancy
    of two coordinates, and of the maps. Shares of the conformations are those of the
    run; those that images tell, less the blur of their posteriors, are those of a
    folder of assign.
    """
    options.set_up_torch("cpu", threads)
    folder = output or run / "evaluation"
    scores = score_run(run, truth, folder)
    print("\n".join(scores.table()))
    print(f"done: {folder}")
    return 0


def score_run(run: Path, truth_folder: Path, output: Path) -> Scores:
    """Score the conformations of a folder and write tables and pictures."""
    with result_folder(output, SCORES):
        return _score_into(output, run, truth_folder)


def _score_into(output: Path, run: Path, truth_folder: Path) -> Scores:
    from multicryogan.evaluation import score
    from multicryogan.fourier import fourier_resize
    from multicryogan.inference import read_series
    from multicryogan.io import whole_file
    from multicryogan.progress import ProgressLine
    from multicryogan.report import plots
    from multicryogan.report.maps import plot_conformations
    from multicryogan.report.plane import plot_plane
    from multicryogan.synthetic import read_truth

    print("scoring conformations, each in its own frame: a minute or more")
    series = read_series(run).few()
    truth = read_truth(truth_folder)
    check_field(series.volumes, series.voxel_size, truth, run, truth_folder)
    volumes = fourier_resize(series.volumes, truth.maps.shape[-1], 3)
    with ProgressLine() as line:
        scores = score(
            volumes,
            series.latents,
            series.weights,
            truth.maps,
            truth.map_coordinates,
            truth.map_weights,
            truth.voxel_size,
            series.density,
            line.count_steps,
        )
    with whole_file(output / SCORES) as path:
        path.write_text(json.dumps(scores.to_dict(), indent=1), encoding="utf-8")
    with whole_file(output / "table.txt") as path:
        path.write_text("\n".join(scores.table()) + "\n", encoding="utf-8")
    plots.plot_fsc(scores, output / "fsc.png")
    if scores.populations is not None:
        plots.plot_fsccc(scores.populations, output / "fsccc.png")
    plots.plot_order(scores, output / "order.png")
    if scores.occupancy is not None:
        plot_plane(scores.order, scores.occupancy, output / "occupancy.png")
    plot_conformations(
        scores.frames.apply(volumes),
        truth.maps[list(scores.shown)],
        scores,
        output / "conformations.png",
    )
    return scores


def check_field(
    volumes: Tensor, voxel_size: float, truth: Truth, run: Path, truth_folder: Path
) -> None:
    """Refuse (V, D, D, D) volumes that span another length than the true maps.

    Raises:
        InputError: They do.
    """
    from multicryogan.units import is_same_length

    field = volumes.shape[-1] * voxel_size
    true_field = truth.maps.shape[-1] * truth.voxel_size
    if not is_same_length(field, true_field):
        raise InputError(
            f"maps of {run} span {field:.1f} Å, those of {truth_folder} "
            f"{true_field:.1f} Å; give the truth of the data that the run was made from"
        )
