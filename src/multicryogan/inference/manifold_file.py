"""A refined manifold as a file: tensors and a text header."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from multicryogan.config import RunConfig, run_config
from multicryogan.errors import InputError
from multicryogan.io import whole_file
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.priors.views import CELLS, ViewLaw
from multicryogan.tables import to_dict

MANIFOLD = "manifold.safetensors"
NAMES = ("latents", "weights", "coefficients", "basis")
VIEWS = "views"


def save_manifold(
    folder: Path, manifold: Manifold, config: RunConfig, voxel_size: float
) -> None:
    """Write manifold.safetensors."""
    from safetensors.torch import save_file

    tensors = {name: getattr(manifold, name).cpu().contiguous() for name in NAMES}
    tensors[VIEWS] = manifold.views.weights.cpu().contiguous()
    header = {"config": json.dumps(to_dict(config)), "voxel_size": repr(voxel_size)}
    with whole_file(folder / MANIFOLD) as path:
        save_file(tensors, path, header)


def load_manifold(folder: Path) -> tuple[Manifold, RunConfig, float]:
    """Read what `save_manifold` wrote.

    Returns:
        manifold: On the CPU.
        config: Of the run that it came from.
        voxel_size: Å per voxel of its volumes.

    Raises:
        InputError: There is no such file, or it is not one.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / MANIFOLD
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            parts: dict[str, Tensor] = {name: file.get_tensor(name) for name in NAMES}
            views = file.get_tensor(VIEWS)
        config = run_config(json.loads(header["config"]))
        voxel_size = float(header["voxel_size"])
        count = len(parts["basis"])
        conformations = len(parts["latents"])
        shapes = (parts["coefficients"].shape, parts["weights"].shape)
        if shapes != ((conformations, count), (conformations,)):
            raise ValueError("its tensors do not fit each other")
        if views.shape[1:] != (CELLS,) or len(views) not in (1, conformations):
            raise ValueError("its directions do not fit its conformations")
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error}; give a folder of refine"
        ) from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is no manifold of multicryogan: {error}; refine again"
        ) from None
    latents, weights, coefficients, basis = (parts[name] for name in NAMES)
    pairs = all_pairs(count)
    manifold = Manifold(latents, weights, coefficients, basis, pairs, ViewLaw(views))
    return manifold, config, voxel_size
