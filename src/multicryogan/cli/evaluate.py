"""`multicryogan evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from multicryogan.evaluation.scores import Scores

CONFORMATIONS = 21  # of the paper's FSCCC matrix


def evaluate(
    run: Annotated[Path, Parameter(help="Run folder made by train.")],
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
    the FSCCC matrices, of matched against true coordinate, and of the maps.
    """
    options.set_up_torch("cpu", threads)
    folder = output or run / "evaluation"
    scores = score_run(run, truth, folder)
    print("\n".join(scores.table()))
    print(f"done: {folder}")
    return 0


def score_run(run: Path, truth_folder: Path, output: Path) -> Scores:
    """Score the averaged generator of a run and write tables and pictures."""
    import torch

    from multicryogan.evaluation import score
    from multicryogan.fourier import fourier_resize
    from multicryogan.io import whole_file
    from multicryogan.priors import LatentPrior
    from multicryogan.report import plots
    from multicryogan.report.maps import plot_conformations
    from multicryogan.synthetic import read_truth
    from multicryogan.training import load_snapshot

    generator, config, voxel_size = load_snapshot(run)
    truth = read_truth(truth_folder)
    box = truth.maps.shape[-1]
    field, true_field = generator.box * voxel_size, box * truth.voxel_size
    if abs(field - true_field) > 0.01 * true_field:
        raise InputError(
            f"maps of {run} span {field:.1f} Å, those of {truth_folder} "
            f"{true_field:.1f} Å; give the truth of the data that the run was made from"
        )
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    latents = prior.path(CONFORMATIONS)
    with torch.no_grad():
        volumes = fourier_resize(generator(latents), box, 3)
    scores = score(
        volumes,
        latents[:, 0],
        torch.ones(CONFORMATIONS),
        truth.maps,
        truth.map_coordinates,
        truth.map_weights,
        truth.voxel_size,
    )
    options.make_folder(output)
    with whole_file(output / "scores.json") as path:
        path.write_text(json.dumps(scores.to_dict(), indent=1))
    with whole_file(output / "table.txt") as path:
        path.write_text("\n".join(scores.table()) + "\n")
    plots.plot_fsc(scores, output / "fsc.png")
    plots.plot_fsccc(scores, output / "fsccc.png")
    plots.plot_order(scores, output / "order.png")
    plot_conformations(
        scores.frames.apply(volumes),
        truth.maps,
        scores,
        output / "conformations.png",
    )
    return scores
