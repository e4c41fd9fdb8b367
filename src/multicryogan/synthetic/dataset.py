"""Make a synthetic data set: a folder of particle images and their truth.

particles.star holds the optics but no poses: the answer is in truth/ alone. The
signal-to-noise ratio is the variance of the clean, CTF-modulated pixels of all images
(whole box) of the first optics group over the variance of their noise; the noise of
the other groups is a factor of that one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan import rng
from multicryogan.config import SimulationConfig
from multicryogan.errors import InputError
from multicryogan.imaging import sample_noise
from multicryogan.io.mrc import StackWriter
from multicryogan.progress import Progress, ignore
from multicryogan.synthetic.checks import check_simulation
from multicryogan.synthetic.conformations import Conformations
from multicryogan.synthetic.draws import Views, draw_views
from multicryogan.synthetic.groups import Geometry, OpticsGroup, optics_groups
from multicryogan.synthetic.law import Law
from multicryogan.synthetic.models import MODELS, MOST_MODELS, write_models
from multicryogan.synthetic.molecule import (
    check_extent,
    load_atoms,
    load_conformations,
)
from multicryogan.synthetic.particle_file import (
    BACKGROUND,
    PARTICLES,
    background_rows,
    stack_name,
    write_background,
    write_particles,
)
from multicryogan.synthetic.render import noise_power, render_clean
from multicryogan.synthetic.truth import truth_rows, write_truth
from multicryogan.synthetic.unfinished import remove_abandoned, unfinished_folder
from multicryogan.tables import checked

CLEAN, TRUTH = "clean.tmp", "truth"


@dataclass
class _Counter:
    """Images done, halves counted: each is rendered, then gets its noise."""

    images: int
    progress: Progress
    halves: int = 0

    def add(self, images: int) -> None:
        """Report one more step of some images."""
        self.halves += images
        self.progress(self.halves // 2, self.images)


def simulate(
    config: SimulationConfig,
    output: str | Path,
    *,
    base: str | Path = ".",
    progress: Progress = ignore,
) -> None:
    """Write a synthetic data set: particles.star, its stacks, and truth/.

    With patches of background also background.star and its stacks. The folder appears
    when it is complete; after an error nothing is left.

    Args:
        config: Molecule, law of its conformations, optics, noise, size.
        output: Folder to make; it must not exist, or be empty.
        base: Folder that relative paths in the config start from.
        progress: Called with images done and images in all.

    Raises:
        InputError: A setting cannot be used, the molecule does not fit the box, or
            the folder is not empty or cannot be written.
    """
    output, base = Path(output), Path(base)
    config = checked(config)
    check_simulation(config)
    _check_output(output)
    _check_space(config, output)
    config = replace(config, resolution=Geometry.of(config).resolution)
    conformations = load_conformations(config.molecule, base)
    for group in optics_groups(config):
        check_extent(conformations, group.geometry)
    check_extent(conformations, Geometry.of(config))
    share = config.molecule.domain.share
    law = Law(config.law, conformations.limits, base, share if share < 1 else None)
    threads = torch.get_num_threads()
    temporary = unfinished_folder(output)
    try:
        remove_abandoned(output)
        temporary.mkdir(parents=True)
        torch.set_num_threads(1)  # each block of images has a thread instead
        _write(temporary, config, conformations, law, threads, progress)
        if len(law.states) <= MOST_MODELS:
            write_models(
                temporary / TRUTH / MODELS,
                load_atoms(config.molecule, base),
                conformations,
                law.states,
                Geometry.of(config),
            )
        os.replace(temporary, output)
    except OSError as error:
        raise InputError(
            f"cannot write {output}: {error.strerror or error}; choose a folder that "
            "you may write to, with free space"
        ) from None
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(temporary, ignore_errors=True)


def _check_output(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output} is not empty; choose a new folder or remove it")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; choose a new folder")


def _check_space(config: SimulationConfig, output: Path) -> None:
    """Refuse images that the disk has no room for."""
    there = next(p for p in (output, *output.absolute().parents) if p.is_dir())
    boxes = [one.geometry.box for one in optics_groups(config)]
    # Each group is written without noise first.
    images = 2 * config.images + config.background_patches
    needed, free = 4 * max(boxes) ** 2 * images, shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"the images take up to {needed / 1e9:,.0f} GB, {there} has "
            f"{free / 1e9:,.0f} GB of room; make fewer, or choose another folder"
        )


def _write(
    folder: Path,
    config: SimulationConfig,
    conformations: Conformations,
    law: Law,
    threads: int,
    progress: Progress,
) -> None:
    """Draw, render, add noise, write."""
    drawn, state = law.sample(config.images, config.seed)
    coordinates = conformations.quantise(drawn)
    views = draw_views(config, torch.from_numpy(law.along(coordinates)))
    groups = optics_groups(config)
    _check_groups(views.group, groups)
    counter = _Counter(config.images, progress)
    noise_variance = 0.0
    for place, group in enumerate(groups):
        own = views.group == place
        blocks = render_clean(
            conformations,
            coordinates[own.numpy()],
            views.select(own),
            group.geometry,
            threads,
        )
        count = int(own.sum())
        variance = _store(folder / CLEAN, blocks, count, group.geometry.box, counter)
        if place == 0:
            noise_variance = variance * 10 ** (-config.snr_db / 10)
        noise = _noise("noise", count, noise_variance, group, config.seed)
        path = folder / stack_name(PARTICLES, group.number, len(groups))
        _write_stack(path, folder / CLEAN, noise, group.geometry, counter)
        (folder / CLEAN).unlink()
    write_particles(folder, config, views)
    if config.background_patches > 0:
        _write_background(folder, config, views, groups, noise_variance)
    (folder / TRUTH).mkdir()
    rows = truth_rows(coordinates, state, views)
    write_truth(folder / TRUTH, config, conformations, law, rows)


def _check_groups(group: Tensor, groups: tuple[OpticsGroup, ...]) -> None:
    """Refuse a group that was drawn for no particle."""
    counts = torch.bincount(group, minlength=len(groups))
    for one, count in zip(groups, counts.tolist(), strict=True):
        if count == 0:
            raise InputError(
                f"groups: group {one.number} has none of {len(group)} particles; make "
                "more images or give it a larger share"
            )


def _store(
    path: Path,
    blocks: Iterable[tuple[NDArray[np.int64], Tensor]],
    images: int,
    box: int,
    counter: _Counter,
) -> float:
    """Write the clean images, raw float32, and return the variance of their pixels."""
    total = total_squares = 0.0
    # Written, not mapped: a write to a full disk is an error, a mapped page a SIGBUS.
    with path.open("wb") as file:
        for rows, block in blocks:
            for row, image in zip(rows.tolist(), block.numpy(), strict=True):
                file.seek(row * image.nbytes)
                file.write(image.tobytes())
            total += block.sum(dtype=torch.float64).item()
            total_squares += block.double().square().sum().item()
            counter.add(len(rows))
    count = images * box**2
    return total_squares / count - (total / count) ** 2


def _write_stack(
    path: Path,
    clean: Path,
    noise: Iterable[Tensor],
    geometry: Geometry,
    counter: _Counter,
) -> None:
    """Write a stack: clean images plus noise, block by block."""
    with (
        StackWriter(path, geometry.box, geometry.pixel_size) as stack,
        clean.open("rb") as file,
    ):
        for block in noise:
            images = np.fromfile(file, np.float32, block.numel())
            stack.append(images.reshape(block.shape) + block.numpy())
            counter.add(len(block))


def _write_background(
    folder: Path,
    config: SimulationConfig,
    views: Views,
    groups: tuple[OpticsGroup, ...],
    variance: float,
) -> None:
    """Write background.star and its stacks: patches without a particle."""
    counts = torch.bincount(
        views.group[background_rows(config)], minlength=len(groups)
    ).tolist()
    for group, count in zip(groups, counts, strict=True):
        if count == 0:
            continue
        path = folder / stack_name(BACKGROUND, group.number, len(groups))
        with StackWriter(path, group.geometry.box, group.geometry.pixel_size) as stack:
            for block in _noise(BACKGROUND, count, variance, group, config.seed):
                stack.append(block)
    write_background(folder, config, views)


def _noise(
    name: str, images: int, variance: float, group: OpticsGroup, seed: int
) -> Iterator[Tensor]:
    """Draw noise for images of a group, (n, D, D) block by block."""
    box, most = group.geometry.box, group.geometry.rows_per_block
    power = noise_power(variance, group)
    name = name if group.number == 1 else f"{name}/{group.number}"
    for step, start in enumerate(range(0, images, most)):
        count = min(most, images - start)
        yield sample_noise((count, box, box), power, rng.stream(seed, name, step=step))
