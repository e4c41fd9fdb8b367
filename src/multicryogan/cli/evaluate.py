"""`multicryogan evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.assigned_files import NPZ, POPULATIONS
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.evaluation import Density, Scores
    from multicryogan.priors import LatentPrior

CONFORMATIONS = 21  # of the paper's FSCCC matrix
CELLS = 49  # of a latent of several dimensions
POINTS = 40_000  # of the latent that stand for its density


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
    from multicryogan.evaluation import score
    from multicryogan.fourier import fourier_resize
    from multicryogan.io import whole_file
    from multicryogan.report import plots
    from multicryogan.report.maps import plot_conformations
    from multicryogan.report.plane import plot_plane
    from multicryogan.synthetic import read_truth
    from multicryogan.units import is_same_length

    series = read_series(run)
    truth = read_truth(truth_folder)
    box = truth.maps.shape[-1]
    field = series.volumes.shape[-1] * series.voxel_size
    true_field = box * truth.voxel_size
    if not is_same_length(field, true_field):
        raise InputError(
            f"maps of {run} span {field:.1f} Å, those of {truth_folder} "
            f"{true_field:.1f} Å; give the truth of the data that the run was made from"
        )
    volumes = fourier_resize(series.volumes, box, 3)
    scores = score(
        volumes,
        series.latents,
        series.weights,
        truth.maps,
        truth.map_coordinates,
        truth.map_weights,
        truth.voxel_size,
        series.density,
    )
    options.make_folder(output)
    with whole_file(output / "scores.json") as path:
        path.write_text(json.dumps(scores.to_dict(), indent=1))
    with whole_file(output / "table.txt") as path:
        path.write_text("\n".join(scores.table()) + "\n")
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


@dataclass(frozen=True, slots=True)
class Series:
    """Conformations of a run, and where particles lie among them."""

    volumes: Tensor  # (V, D, D, D)
    latents: Tensor  # (V, d)
    weights: Tensor  # (V,)
    density: Density
    voxel_size: float  # Å


def read_series(folder: Path) -> Series:
    """Read or make volumes over the whole latent.

    Of one dimension they lie on its path, its ends included; of several, in the middle
    of equally probable cells. A refined manifold brings its own, of which a few are
    taken if it has several dimensions, and how many particles lie in each cell.

    Raises:
        InputError: The folder is neither a run nor refined nor assigned, or was
            assigned in several latent dimensions.
    """
    import torch

    from multicryogan.inference import MANIFOLD, load_manifold
    from multicryogan.priors import LatentPrior
    from multicryogan.training import load_snapshot

    if (folder / NPZ).is_file():
        return read_assigned(folder)
    if (folder / MANIFOLD).is_file():
        manifold, config, voxel_size = load_manifold(folder)
        picked = spread_places(*manifold.latents.shape)
        prior = LatentPrior(config.latent.kind, config.latent.dimensions)
        return Series(
            manifold.volumes[picked],
            manifold.latents[picked],
            manifold.weights[picked],
            density_over(prior, manifold.weights),
            voxel_size,
        )
    generator, config, voxel_size = load_snapshot(folder)
    prior = LatentPrior(config.latent.kind, config.latent.dimensions)
    is_line = prior.dimensions == 1
    latents = (
        prior.path(CONFORMATIONS) if is_line else prior.grid(along(prior.dimensions))
    )
    even = latents.new_ones(len(latents))
    with torch.no_grad():
        volumes = torch.cat([generator(latent[None]) for latent in latents])
    return Series(volumes, latents, even, density_over(prior, even[:1]), voxel_size)


def along(dimensions: int) -> int:
    """Count the places along each of several dimensions that are looked at."""
    return max(2, round(float(CELLS ** (1 / dimensions))))


def spread_places(count: int, dimensions: int) -> list[int]:
    """Pick some conformations of a grid of `count`, its borders included."""
    import torch

    if dimensions == 1:
        return list(range(count))
    steps = round(count ** (1 / dimensions))
    most = min(steps, along(dimensions))
    axis = torch.linspace(0, steps - 1, most).round().long()
    places = torch.cartesian_prod(*[axis] * dimensions)
    scale = steps ** torch.arange(dimensions - 1, -1, -1)
    picked: list[int] = (places * scale).sum(1).tolist()
    return picked


def density_over(prior: LatentPrior, weights: Tensor) -> Density:
    """Spread the weights of a grid of equally probable cells evenly in each cell."""
    from multicryogan.evaluation import Density

    steps = round(len(weights) ** (1 / prior.dimensions))
    within = max(1, round(POINTS ** (1 / prior.dimensions) / steps))
    points = prior.grid(steps * within)
    return Density(points, weights[prior.cell(points, steps)])


def read_assigned(folder: Path) -> Series:
    """Read the class maps of a folder of assign, and the shares that images tell.

    Raises:
        InputError: There are no shares, or several latent dimensions.
    """
    import numpy as np
    import pandas as pd
    import torch

    from multicryogan.evaluation import Density
    from multicryogan.io import read_volume

    with np.load(folder / NPZ, allow_pickle=False) as arrays:
        latents = torch.from_numpy(arrays["conformation_latents"])
    if latents.shape[1] > 1:
        raise InputError(
            f"{folder} was assigned in {latents.shape[1]} latent dimensions; evaluate "
            "the run that it came from"
        )
    if not (folder / POPULATIONS).is_file():
        raise InputError(
            f"no {POPULATIONS} in {folder}: too few particles were assigned to tell "
            "shares; evaluate the run that they were assigned with"
        )
    shares = torch.tensor(pd.read_csv(folder / POPULATIONS)["share"].to_numpy())
    files = [folder / f"class_{i:03d}.mrc" for i in range(1, len(latents) + 1)]
    maps = [read_volume(file) for file in files]
    volumes = torch.stack([volume.values for volume in maps])
    density = Density(latents, shares.float())
    return Series(volumes, latents, shares.float(), density, maps[0].voxel_size)
