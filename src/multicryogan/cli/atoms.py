"""Known atoms in recovered maps: what a simulated motion looks like in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.synthetic import Truth

ATOMS = "atoms.cif"


@dataclass(frozen=True)
class Known:
    """Truth of a data set, and the file of the atoms of each of its conformations."""

    truth: Truth
    models: Path


def read_known(folder: Path, volumes: Tensor, voxel_size: float, run: Path) -> Known:
    """Read what simulate wrote of the conformations that (V, D, D, D) maps show.

    Raises:
        InputError: The folder holds no models or no truth, or is of other data.
    """
    from multicryogan.cli.evaluate import check_field
    from multicryogan.synthetic import models_path, read_truth

    models = models_path(folder)
    if not models.is_file():
        raise InputError(
            f"{models} is missing: {folder} is not of simulate, or of a table of many "
            "states, which has no models; leave --truth away"
        )
    truth = read_truth(folder)
    check_field(volumes, voxel_size, truth, run, folder)
    return Known(truth, models)


def write_atoms(volumes: Tensor, known: Known, output: Path) -> None:
    """Write atoms.cif: for each of (V, D, D, D) maps a model that stands in it.

    It is the true conformation that the map is most like, laid on the map as a rigid
    body, and mirrored where the map has the other hand: images do not tell the hand.

    Raises:
        InputError: The file of the models is damaged.
    """
    import torch

    from multicryogan.evaluation import mean_map, own_frames
    from multicryogan.evaluation.rigid import REFLECT
    from multicryogan.fourier import fourier_resize
    from multicryogan.progress import ProgressLine
    from multicryogan.synthetic import place_models

    truth = known.truth
    box, size = truth.maps.shape[-1], truth.voxel_size
    resized = fourier_resize(volumes, box, 3)
    mean = mean_map(truth.maps, truth.map_weights)
    with ProgressLine() as line:
        laying = partial(line.count_steps, "looking for the true conformations")
        found = own_frames(resized, truth.maps, mean, laying)
    frames = found.on_alike
    # A point p of a map stands at R M p + t on the true one: see `Frames.poses`.
    mirror = torch.where(frames.is_mirrored[:, None], REFLECT, torch.ones(3))
    back = (mirror[:, :, None] * frames.rotation.mT).double()  # M R^T
    centre = float(box // 2 * size)
    moved = (centre + size * frames.shift.double())[:, :, None]
    offset = centre - (back @ moved)[:, :, 0]
    place_models(
        known.models,
        found.alike.numpy(),
        back.numpy(),
        offset.numpy(),
        output / ATOMS,
    )
    if bool(frames.is_mirrored.any()):
        print("the maps have the other hand than the atoms, which were mirrored")
