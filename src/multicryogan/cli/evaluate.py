"""`multicryogan evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.assigned_files import NPZ, POPULATIONS
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.evaluation.scores import Scores

CONFORMATIONS = 21  # of the paper's FSCCC matrix


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
    the FSCCC matrices, of matched against true coordinate, and of the maps. Shares of
    the conformations are those of the run; those that images tell, less the blur of
    their posteriors, are those of a folder of assign.
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

    volumes, latents, weights, voxel_size = read_series(run)
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
        weights,
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


def read_series(folder: Path) -> tuple[Tensor, Tensor, Tensor, float]:
    """Read or make volumes along the first latent dimension.

    Returns:
        (V, D, D, D) volumes, (V,) latents, (V,) shares of the particles up to a
        factor, and Å per voxel.

    Raises:
        InputError: The folder is neither a run nor refined nor assigned, or has
            several latent dimensions.
    """
    import torch

    from multicryogan.inference import MANIFOLD, load_manifold
    from multicryogan.priors import LatentPrior
    from multicryogan.training import load_snapshot

    if (folder / NPZ).is_file():
        return read_assigned(folder)
    if (folder / MANIFOLD).is_file():
        manifold, _, voxel_size = load_manifold(folder)
        _check_line(folder, manifold.latents, "refined")
        return manifold.volumes, manifold.latents[:, 0], manifold.weights, voxel_size
    generator, config, voxel_size = load_snapshot(folder)
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    latents = prior.path(CONFORMATIONS)
    weights = latents.new_ones(len(latents))
    with torch.no_grad():
        return generator(latents), latents[:, 0], weights, voxel_size


def read_assigned(folder: Path) -> tuple[Tensor, Tensor, Tensor, float]:
    """Read the class maps of a folder of assign, and the shares that images tell.

    Returns:
        As `read_series`.

    Raises:
        InputError: There are no shares, or several latent dimensions.
    """
    import numpy as np
    import pandas as pd
    import torch

    from multicryogan.io import read_volume

    with np.load(folder / NPZ, allow_pickle=False) as arrays:
        latents = torch.from_numpy(arrays["conformation_latents"])
    _check_line(folder, latents, "assigned")
    if not (folder / POPULATIONS).is_file():
        raise InputError(
            f"no {POPULATIONS} in {folder}: too few particles were assigned to tell "
            "shares; evaluate the run that they were assigned with"
        )
    shares = torch.tensor(pd.read_csv(folder / POPULATIONS)["share"].to_numpy())
    files = [folder / f"class_{i:03d}.mrc" for i in range(1, len(latents) + 1)]
    maps = [read_volume(file) for file in files]
    volumes = torch.stack([volume.values for volume in maps])
    return volumes, latents[:, 0], shares.float(), maps[0].voxel_size


def _check_line(folder: Path, latents: Tensor, verb: str) -> None:
    """Refuse latents (V, d) that are no line."""
    if latents.shape[1] > 1:
        raise InputError(
            f"{folder} was {verb} in {latents.shape[1]} latent dimensions; evaluate "
            "the run that it came from"
        )
