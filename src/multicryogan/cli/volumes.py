"""`multicryogan volumes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.atoms import read_known, write_atoms
from multicryogan.cli.folders import forget, result_folder
from multicryogan.config import RunConfig
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CONFORMATIONS = 21


def volumes(
    run: Annotated[Path, Parameter(help="Folder made by train or refine.")],
    *,
    output: options.Output,
    count: Annotated[
        int | None,
        Parameter(help="Maps along the first latent dimension of a trained run; 21."),
    ] = None,
    latents: Annotated[
        Path | None,
        Parameter(help="Text file of latents, one per line, instead of even steps."),
    ] = None,
    truth: Annotated[
        Path | None,
        Parameter(help="Folder made by simulate: put its known atoms into the maps."),
    ] = None,
) -> int:
    """Write maps (.mrc) along the latent, and what shows them.

    latents.csv says which map is which; open.cxc opens them in ChimeraX as a series
    that plays, morph.cxc as a smooth morph; motion.gif is for slides. A refined folder
    has its own conformations. With --truth, atoms.cif has a model for each map, of the
    simulated conformation that it is most like, and atoms.cxc shows both.

    Images do not show the frame of a single conformation. So each map is laid on its
    neighbour in the latent as a rigid body, mirrored where need be: the series shows
    no drift and no jump of the whole. The first map stays as it is. All stay where they
    have a frame in common: axes of symmetry, or what lies outside a focus mask.
    """
    from multicryogan.evaluation import align_neighbours
    from multicryogan.inference import MANIFOLD
    from multicryogan.report.viewers import SERIES, write_viewers
    from multicryogan.training.build import has_frame

    maps, points, config, voxel_size = _conformations(run, count, latents)
    known = None if truth is None else read_known(truth, maps, voxel_size, run)
    is_laid = has_frame(config)
    may_jump = not (run / MANIFOLD).is_file()
    laid, frames = align_neighbours(maps, points, has_frame=is_laid, may_jump=may_jump)
    with result_folder(output, SERIES):
        if known is not None:  # first: its models may be damaged, earlier results stay
            print("looking for the true conformation of each map: a minute or more")
            write_atoms(laid, known, output)
        forget(output, "volume_*.mrc", *(() if known is not None else ("atoms.*",)))
        _write_maps(laid, points, voxel_size, output)
        write_viewers(laid, output, has_atoms=truth is not None)
    mirrored = int(frames.is_mirrored.sum())
    if mirrored > 0:
        print(
            f"{mirrored} of {len(points)} maps had the other hand than the first and "
            "were mirrored: images do not tell the hand"
        )
    shown = SERIES if truth is None else "atoms.cxc"
    where = "in one frame" if is_laid else "each laid on its neighbour"
    print(
        f"done: {len(points)} maps of {laid.shape[-1]} voxels of {voxel_size:.3f} Å "
        f"in {output}, {where}; open {output / shown} in an empty ChimeraX"
    )
    return 0


def _write_maps(
    volumes: Tensor, points: Tensor, voxel_size: float, output: Path
) -> None:
    """Write (V, D, D, D) maps, and a table of their latents (V, d)."""
    from multicryogan.io import whole_file, write_volume

    rows = []
    for index, (point, volume) in enumerate(zip(points, volumes, strict=True), start=1):
        name = f"volume_{index:03d}.mrc"
        write_volume(output / name, volume, voxel_size)
        rows.append(",".join([name, *(f"{x:.6g}" for x in point.tolist())]))
    names = ",".join(f"latent_{i}" for i in range(points.shape[1]))
    with whole_file(output / "latents.csv") as path:
        path.write_text(
            f"map,{names}\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8"
        )


def _conformations(
    run: Path, count: int | None, latents: Path | None
) -> tuple[Tensor, Tensor, RunConfig, float]:
    """(V, D, D, D) maps, (V, d) latents, config and Å per voxel of a folder."""
    import torch

    from multicryogan.inference import MANIFOLD, load_manifold
    from multicryogan.inference.assignment import MOST
    from multicryogan.training import load_snapshot

    if (run / MANIFOLD).is_file():
        if count is not None or latents is not None:
            raise InputError(
                f"{run} was refined and has its own conformations; leave --count and "
                "--latents away, or give the run that it came from"
            )
        manifold, config, voxel_size = load_manifold(run)
        return manifold.volumes, manifold.latents, config, voxel_size
    generator, config, voxel_size = load_snapshot(run)
    number = CONFORMATIONS if count is None else count
    if not 1 <= number <= MOST:
        raise InputError(f"--count is {number}; give 1 to {MOST}")
    points = _points(config, number, latents)
    with torch.no_grad():
        maps = torch.cat([generator(point[None]) for point in points])
    return maps, points, config, voxel_size


def _points(config: RunConfig, count: int, file: Path | None) -> Tensor:
    """(V, d) latents: from a file, or even steps along the first dimension."""
    import warnings

    import numpy as np
    import torch

    from multicryogan.priors import LatentPrior

    dimensions = config.latent.dimensions
    prior = LatentPrior(config.latent.kind, dimensions)
    if file is None:
        return prior.path(count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy no more than warns of no data
            values = np.loadtxt(file, np.float32, ndmin=2, encoding="utf-8")
    except (OSError, ValueError, UserWarning) as error:
        raise InputError(
            f"{file} is no table of numbers: {error}; write one latent per line"
        ) from None
    if values.shape[1] != dimensions:
        raise InputError(
            f"{file} has {values.shape[1]} columns; the run has {dimensions} latent "
            "dimensions: write one column for each"
        )
    if not np.isfinite(values).all():
        line = 1 + int((~np.isfinite(values)).any(1).argmax())
        raise InputError(f"{file}: latent {line} is not finite; write numbers alone")
    points = torch.from_numpy(values)
    if not prior.holds(points):
        raise InputError(f"{file}: latents of this run lie between 0 and 1")
    return points
