"""What is known of a synthetic data set: written beside it, read to score results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multicryogan.config import SimulationConfig
from multicryogan.errors import InputError
from multicryogan.imaging import CTFParams
from multicryogan.io.arrays import read_archive
from multicryogan.io.mrc import read_volume, write_volume
from multicryogan.synthetic.conformations import Conformations
from multicryogan.synthetic.draws import Views
from multicryogan.synthetic.groups import Geometry
from multicryogan.synthetic.law import Law
from multicryogan.synthetic.models import MODELS
from multicryogan.synthetic.render import true_map
from multicryogan.tables import build, mistakes_in, read_toml, write_toml

if TYPE_CHECKING:
    import pandas as pd

ROWS, STATES, MEAN, CONFIG = "rows.npz", "states.csv", "mean.mrc", "config.toml"
OPTICS = tuple(
    field.name for field in fields(CTFParams) if field.name not in ("scale", "group")
)
COORDINATE, MAPS, MAP_FILES = "coordinate_", "maps", "maps/*.mrc"
ROUNDING = 1e-9  # of weights, whose sum is 1
PRESENT = "present"  # unit of a coordinate that says whether the domain is there


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth of N particles and M states of the molecule."""

    coordinates: Tensor  # (N, d) conformation of each particle, in `unit`
    state: Tensor  # (N,) row in `maps` under a discrete law, else -1
    rotation: Tensor  # (N, 3, 3) matrices A, r_image = A r_volume
    shift_angstrom: Tensor  # (N, 2) (x, y): where the particle sits
    group: Tensor  # (N,) optics group, from 1
    scale: Tensor  # (N,) contrast of each particle
    maps: Tensor  # (M, D, D, D) densities, axes (z, y, x)
    map_coordinates: Tensor  # (M, d) conformations of the maps
    map_weights: Tensor  # (M,) shares of the maps in the law; they sum to 1
    mean: Tensor  # (D, D, D) mean density over the law
    voxel_size: float  # Å, of the maps
    units: tuple[str, ...]  # (d,) of the coordinates: deg, frame or present
    config: SimulationConfig

    @property
    def is_present(self) -> Tensor:
        """(N,) whether each particle has the domain that others lack."""
        if self.units[-1] == PRESENT:
            return self.coordinates[:, -1] > 0.5
        return torch.ones(len(self.coordinates), dtype=torch.bool)


def read_truth(folder: str | Path) -> Truth:
    """Read the truth of a synthetic data set.

    Args:
        folder: The folder that `simulate` wrote, or its truth/.

    Raises:
        InputError: The folder holds no truth, or a part of it is missing.
    """
    truth = _truth_of(Path(folder))
    if not (truth / ROWS).is_file():
        raise InputError(
            f"{folder} holds no truth (no {ROWS} in it or in its truth folder); "
            "give a folder that `multicryogan simulate` wrote"
        )
    table = _read_states(truth / STATES)
    names = [name for name in table.columns if name.startswith(COORDINATE)]
    rows = _read_rows(truth / ROWS, len(names))
    volumes = [read_volume(truth / MAPS / name) for name in table["map"]]
    mean = read_volume(truth / MEAN)
    if len({volume.values.shape for volume in (*volumes, mean)}) > 1:
        raise InputError(f"{truth}: its maps have several sizes; simulate again")
    values = read_toml(truth / CONFIG)
    with mistakes_in(truth / CONFIG):
        config = build(SimulationConfig, values)
    return Truth(
        coordinates=torch.from_numpy(rows["coordinates"]).float(),
        state=torch.from_numpy(rows["state"]),
        rotation=torch.from_numpy(rows["rotation"]),
        shift_angstrom=torch.from_numpy(rows["shift_angstrom"]),
        group=torch.from_numpy(rows["group"]),
        scale=torch.from_numpy(rows["scale"]),
        maps=torch.stack([volume.values for volume in volumes]),
        map_coordinates=torch.tensor(table[names].to_numpy(np.float32)),
        map_weights=torch.tensor(table["weight"].to_numpy(np.float32)),
        mean=mean.values,
        voxel_size=volumes[0].voxel_size,
        units=tuple(name.rsplit("_", 1)[1] for name in names),
        config=config,
    )


def models_path(folder: str | Path) -> Path:
    """Name the models of a synthetic data set; a table of many states has none."""
    return _truth_of(Path(folder)) / MODELS


def write_truth(
    folder: Path,
    config: SimulationConfig,
    conformations: Conformations,
    law: Law,
    rows: dict[str, NDArray[np.generic]],
) -> None:
    """Write truth/: one row per particle, maps of the states, their mean, the config.

    Args:
        folder: An empty folder.
        config: The config of the data set.
        conformations: The molecule.
        law: Distribution of the conformations.
        rows: Arrays of N rows, from `truth_rows`.
    """
    geometry = Geometry.of(config)
    np.savez(folder / ROWS, **rows)  # type: ignore[arg-type]
    (folder / MAPS).mkdir()
    mean = torch.zeros((config.box,) * 3)
    names = [f"state_{i:04d}.mrc" for i in range(len(law.states))]
    for name, state, weight in zip(names, law.states, law.weights, strict=True):
        density = true_map(conformations, state, geometry)
        write_volume(folder / MAPS / name, density, config.pixel_size)
        mean = mean + float(weight) * density
    write_volume(folder / MEAN, mean, config.pixel_size)
    _write_states(folder / STATES, names, law, conformations.units)
    write_toml(folder / CONFIG, config)


def truth_rows(
    coordinates: NDArray[np.float64], state: NDArray[np.int64], views: Views
) -> dict[str, NDArray[np.generic]]:
    """Collect the conformation, pose and optics of N particles."""
    scale = views.ctf.scale
    if scale is None:
        scale = torch.ones(len(views.rotation))
    optics = {name: getattr(views.ctf, name).numpy() for name in OPTICS}
    return {
        "coordinates": coordinates,
        "state": state,
        "rotation": views.rotation.numpy(),
        "shift_angstrom": views.shift_angstrom.numpy(),
        "group": views.group.numpy() + 1,
        "scale": scale.numpy(),
        **optics,
    }


def _truth_of(folder: Path) -> Path:
    """The folder truth/ of a data set, or that folder itself."""
    return folder / "truth" if (folder / "truth").is_dir() else folder


def _write_states(
    path: Path, names: Sequence[str], law: Law, units: Sequence[str]
) -> None:
    """One line per map: file, coordinates, weight."""
    import pandas as pd

    table = pd.DataFrame({"map": names})
    for axis, unit in enumerate(units):
        table[f"{COORDINATE}{axis + 1}_{unit}"] = law.states[:, axis]
    table["weight"] = law.weights
    table.to_csv(path, index=False)


def _read_states(path: Path) -> pd.DataFrame:
    """Read the table of maps; one that was cut, or is another's, is refused."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"map": str}, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read: {reason}; simulate again") from None
    problem = _problem_of(table, sorted(x.name for x in path.parent.glob(MAP_FILES)))
    if problem:
        raise InputError(f"{path} {problem}; simulate again")
    return table


def _problem_of(table: pd.DataFrame, files: list[str]) -> str:
    """Say what makes a table no table of these maps; empty: nothing."""
    import pandas as pd

    names = [name for name in table.columns if name.startswith(COORDINATE)]
    if not names or not {"map", "weight"} <= set(table.columns):
        return f"has no columns map, {COORDINATE}1_..., weight"
    if sorted(table["map"].astype(str)) != files:
        return f"lists {len(table)} maps, others than the {len(files)} beside it"
    numbers = table[[*names, "weight"]].apply(pd.to_numeric, errors="coerce")
    values = numbers.to_numpy(np.float64)
    if not np.isfinite(values).all() or (values[:, -1] < 0).any():
        return "holds coordinates or weights that are no numbers"
    if abs(values[:, -1].sum() - 1) > ROUNDING:
        return f"holds weights that sum to {values[:, -1].sum():.9f}, not 1"
    return ""


def _read_rows(path: Path, axes: int) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of N particles, whose conformations have some coordinates."""
    rows = read_archive(path, "simulate again")
    shapes = {
        "state": (),
        "coordinates": (axes,),
        "rotation": (3, 3),
        "shift_angstrom": (2,),
        "group": (),
        "scale": (),
    }
    count = np.size(rows.get("state", ()))
    for name, shape in shapes.items():
        values = rows.get(name, np.empty(0))
        is_number = np.issubdtype(values.dtype, np.number)
        if values.shape != (count, *shape) or not is_number:
            raise InputError(
                f"{path} has no {name} of {count} particles; simulate again"
            )
    return rows
