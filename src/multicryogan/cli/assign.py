"""`multicryogan assign`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.assigned_files import ExportOptions, plan_export, write_assignment
from multicryogan.cli.folders import result_folder
from multicryogan.errors import InputError
from multicryogan.tables import checked

if TYPE_CHECKING:
    from multicryogan.config import RunConfig
    from multicryogan.likelihood import Manifold

NOTHING_GIVEN = options.ParticleOptions()
NOTHING_ASKED = ExportOptions()


def assign(
    run: Annotated[Path, Parameter(help="Folder made by train or refine.")],
    particles: options.Particles,
    *,
    output: options.Output,
    conformations: Annotated[
        int,
        Parameter(
            help="Along each latent dimension of a trained run; 0: 21 on a line, 11 "
            "along each of two."
        ),
    ] = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    given: options.ParticleOptions = NOTHING_GIVEN,
    asked: ExportOptions = NOTHING_ASKED,
) -> int:
    """Find the conformation and the pose of every particle.

    Writes latents.csv and latents.npz: per particle the posterior mean and spread of
    the latent, the best conformation (from 1 in the table, from 0 in the arrays), log-
    likelihood, weight of the best pair of conformation and pose, and entropy. Beside
    them the maps of the conformations, which poses refer to, and
    particles_assigned.star or .cs, as the particles came: with angles, origins, half-
    sets and classes (class_001.mrc is 1 in RELION, 0 in cryoSPARC), all other columns
    as they were. poses.npz, ctf.npz and z.npz say the same in cryoDRGN's conventions.
    Shifts are searched to 2.5 times the width that train or refine learned, and not
    at all where train had no --imaging.shift-sigma-angstrom.
    """
    from multicryogan import inference
    from multicryogan.progress import ProgressLine
    from multicryogan.report.about import recorded

    asked = checked(asked)
    manifold, config, voxel_size = read_conformations(run, conformations)
    stack = options.open_particles(particles, given)
    stack.check_files()
    inference.check_particles(stack, manifold.basis.shape[-1], voxel_size)
    export = plan_export(stack, config.latent.dimensions, asked, config.train.seed)
    options.warn_of_no_ctf(stack)
    where = options.set_up_torch(device, threads)
    sign, _ = options.contrast_sign(stack, config.data.contrast)
    with result_folder(output, inference.NPZ):
        with recorded(output, where), ProgressLine() as line:
            found = inference.assign(
                manifold,
                config,
                stack,
                sign,
                device=where,
                progress=partial(line.count, "particles"),
            )
        write_assignment(found, export, voxel_size, output)
    print(f"done: {len(stack):,} particles in {output}")
    return 0


def read_conformations(folder: Path, count: int) -> tuple[Manifold, RunConfig, float]:
    """Read what a folder of refine holds, or make what a trained run describes.

    Returns:
        The conformations, the config of the run, and Å per voxel.

    Raises:
        InputError: The folder is neither, or a refined one is asked for another count.
    """
    from multicryogan import inference
    from multicryogan.training import load_snapshot

    if (folder / inference.MANIFOLD).is_file():
        if count != 0:
            raise InputError(
                f"--conformations {count}: {folder} was refined with its own; leave "
                "the option away, or give it to refine"
            )
        return inference.load_manifold(folder)
    if count < 0:
        raise InputError(f"--conformations is {count}; give 0 or more")
    generator, config, voxel_size = load_snapshot(folder)
    latents = inference.latent_grid(config, count)
    return inference.generator_manifold(generator, latents), config, voxel_size
