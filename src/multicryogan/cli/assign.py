"""`multicryogan assign`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from multicryogan.inference import Assignment
    from multicryogan.io import ParticleStack

NOTHING_GIVEN = options.ParticleOptions()
STAR, CSV, NPZ = "particles_assigned.star", "latents.csv", "latents.npz"


def assign(
    run: Annotated[Path, Parameter(help="Run folder made by train.")],
    particles: options.Particles,
    *,
    output: options.Output,
    conformations: Annotated[int, Parameter(help="Along each latent dimension.")] = 21,
    poses: Annotated[int, Parameter(help="Spread over all rotations.")] = 18_432,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    given: options.ParticleOptions = NOTHING_GIVEN,
) -> int:
    """Find the conformation and the pose of every particle.

    Writes latents.csv and latents.npz: per particle the posterior mean and spread of
    the latent, the best conformation, log-likelihood, weight of the best pair of
    conformation and pose, and entropy. Beside them the maps of the conformations, which
    poses refer to, and for particles of a .star file particles_assigned.star with
    RELION's angles, origins and classes (1 is class_001.mrc), all other columns as they
    were. Shifts are not searched: origins are those of a map within its class.
    """
    from rich.progress import Progress

    from multicryogan import inference
    from multicryogan.training import load_snapshot

    for name, value in (("conformations", conformations), ("poses", poses)):
        if value < 1:
            raise InputError(f"--{name} is {value}; give 1 or more")
    generator, config, voxel_size = load_snapshot(run)
    stack = options.open_particles(particles, given)
    stack.check_files()
    inference.check_particles(stack, generator.box, voxel_size)
    latents = inference.latent_grid(config, conformations)
    where = options.set_up_torch(device, threads)
    sign, _ = options.contrast_sign(stack, config.data.contrast)
    options.make_folder(output)
    with Progress(transient=True) as bar:
        task = bar.add_task("particles", total=len(stack))
        found = inference.assign(
            generator,
            config,
            stack,
            sign,
            latents,
            poses,
            device=where,
            progress=lambda done, total: bar.update(task, completed=done),
        )
    write_assignment(found, stack, voxel_size, output)
    print(f"done: {len(stack):,} particles in {output}")
    return 0


def write_assignment(
    found: Assignment, stack: ParticleStack, voxel_size: float, output: Path
) -> None:
    """Write the maps, the tables and, for RELION's particles, its table."""
    import numpy as np
    import pandas as pd

    from multicryogan.io import whole_file, with_poses, write_star, write_volume

    for number, volume in enumerate(found.volumes, start=1):
        write_volume(output / f"class_{number:03d}.mrc", volume, voxel_size)
    placement = found.placement
    arrays = {
        "latent": placement.latent,
        "latent_spread": placement.latent_spread,
        "conformation": placement.conformation,
        "log_likelihood": placement.log_likelihood,
        "pair_weight": placement.pair_weight,
        "entropy": placement.entropy,
    }
    stored = {name: values.numpy() for name, values in arrays.items()}
    stored["conformation_latents"] = found.latents.numpy()
    stored["conformation_weight"] = placement.conformation_weight.numpy()
    stored["rotation"] = found.rotation.numpy()
    stored["shift_angstrom"] = found.shift_angstrom.numpy()
    with whole_file(output / NPZ) as path, path.open("wb") as file:
        np.savez(file, allow_pickle=False, **stored)
    columns = {"particle": np.arange(1, len(stack) + 1)}
    for name, values in arrays.items():
        if values.ndim == 1:
            columns[name] = values.numpy()
        else:
            columns |= {f"{name}_{i}": v.numpy() for i, v in enumerate(values.T)}
    with whole_file(output / CSV) as path:
        pd.DataFrame(columns).to_csv(path, index=False, float_format="%.6g")
    if stack.path.suffix.lower() != ".star":
        return
    table = with_poses(stack.table, found.rotation, found.shift_angstrom).assign(
        rlnClassNumber=placement.conformation.numpy() + 1,
        rlnMaxValueProbDistribution=placement.pair_weight.numpy(),
        rlnLogLikeliContribution=placement.log_likelihood.numpy(),
    )
    write_star(output / STAR, table, stack.optics)
