"""`multicryogan evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.evaluation.scores import Scores

CONFORMATIONS = 21  # of the paper's FSCCC matrix


def evaluate(
    run: Annotated[Path, Parameter(help="Folder made by train or refine.")],
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
    """Score the conformations of a folder and write tables and pictures."""
    from multicryogan.evaluation import score
    from multicryogan.fourier import fourier_resize
    from multicryogan.io import whole_file
    from multicryogan.report import plots
    from multicryogan.report.maps import plot_conformations
    from multicryogan.synthetic import read_truth

    volumes, latents, voxel_size = read_series(run)
    truth = read_truth(truth_folder)
    box = truth.maps.shape[-1]
    field, true_field = volumes.shape[-1] * voxel_size, box * truth.voxel_size
    if abs(field - true_field) > 0.01 * true_field:
        raise InputError(
            f"maps of {run} span {field:.1f} Å, those of {truth_folder} "
            f"{true_field:.1f} Å; give the truth of the data that the run was made from"
        )
    volumes = fourier_resize(volumes, box, 3)
    scores = score(
        volumes,
        latents,
        latents.new_ones(len(latents)),
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


def read_series(folder: Path) -> tuple[Tensor, Tensor, float]:
    """Read or make volumes along the first latent dimension.

    Returns:
        (V, D, D, D) volumes, (V,) latents, and Å per voxel.

    Raises:
        InputError: The folder is neither a run nor refined, or was refined in several
            latent dimensions.
    """
    import torch

    from multicryogan.inference import MANIFOLD, load_manifold
    from multicryogan.priors import LatentPrior
    from multicryogan.training import load_snapshot

    if (folder / MANIFOLD).is_file():
        manifold, _, voxel_size = load_manifold(folder)
        if manifold.latents.shape[1] > 1:
            raise InputError(
                f"{folder} was refined in {manifold.latents.shape[1]} latent "
                "dimensions; evaluate the run that it came from"
            )
        return manifold.volumes, manifold.latents[:, 0], voxel_size
    generator, config, voxel_size = load_snapshot(folder)
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    latents = prior.path(CONFORMATIONS)
    with torch.no_grad():
        return generator(latents), latents[:, 0], voxel_size
