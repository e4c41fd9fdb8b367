"""`multicryogan landscape`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from multicryogan.cli import options
from multicryogan.cli.assigned_files import ASSIGNED, FEWEST
from multicryogan.cli.folders import forget, result_folder
from multicryogan.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from multicryogan.inference import Landscape

PICTURE = "landscape.png"


def landscape(
    assigned: Annotated[Path, Parameter(help="Folder made by assign.")],
    *,
    output: options.Output,
    seed: Annotated[int, Parameter(help="Of held-out parts and bootstrap.")] = 0,
    threads: options.Threads = 0,
) -> int:
    """Find states, barriers between them, and the ways that particles take.

    The free energy of a conformation, in kT at the temperature that the sample was
    frozen from, is minus the logarithm of the density of particles over the change of
    the map. States are its minima, as far as they are clear; between two of them runs
    the path of largest flux. Writes landscape.csv, states.csv, ways.csv and
    landscape.png, the map of every state, its particles (RELION .star or cryoSPARC .cs,
    as they came), and a folder with the maps along each way and open.cxc, which plays
    them in ChimeraX. Given to `report`, the folder is shown on its page.
    """
    options.set_up_torch("cpu", threads)
    print("\n".join(find_landscape(assigned, output, seed).text()))
    print(f"done: {output}")
    return 0


def find_landscape(assigned: Path, output: Path, seed: int) -> Landscape:
    """Find the landscape of a folder of assign, and write all about it.

    Raises:
        InputError: The folder is none of assign, or holds too little.
    """
    from multicryogan.inference import read_placed
    from multicryogan.inference.landscape import TABLE
    from multicryogan.report.landscape import plot_landscape

    found = read_placed(assigned)
    if len(found.weights) < FEWEST or len(found.latents) < 2:
        raise InputError(
            f"{assigned} holds {len(found.weights)} particles and "
            f"{len(found.latents)} conformations; a landscape needs {FEWEST} and 2"
        )
    told = found.landscape(seed)
    with result_folder(output, TABLE):
        forget(output, "state_*.mrc", "particles_state_*", "way_*/*")
        write_tables(told, found.latents, output)
        _write_maps(told, found.volumes, found.voxel_size, output)
        _write_particles(assigned, told, found.conformation, output)
        plot_landscape(told, found.latents, output / PICTURE)
    return told


def write_tables(found: Landscape, latents: Tensor, output: Path) -> None:
    """Write a row per conformation, one per state, and one per way."""
    import pandas as pd

    from multicryogan.inference.landscape import STATES, TABLE, WAYS
    from multicryogan.io import whole_file

    columns: dict[str, Any] = {"conformation": range(1, len(latents) + 1)}
    columns |= {f"latent_{i}": x.tolist() for i, x in enumerate(latents.T)}
    columns |= {
        "free_energy_kt": found.free_energy,
        "error_kt": found.error,
        "state": found.state_of + 1,
    }
    rows = [
        {
            "state": number,
            "conformation": state.conformation + 1,
            "share": state.share,
            "low": state.low,
            "high": state.high,
        }
        for number, state in enumerate(found.states, start=1)
    ]
    names = ["from_state", "to_state", "barrier_kt", "error_kt", "conformations"]
    ways = [
        (
            *(end + 1 for end in way.ends),
            way.barrier,
            way.error,
            " ".join(str(number + 1) for number in way.conformations),
        )
        for way in found.ways
    ]
    for name, table in (
        (TABLE, pd.DataFrame(columns)),
        (STATES, pd.DataFrame(rows)),
        (WAYS, pd.DataFrame(ways, columns=names)),
    ):
        with whole_file(output / name) as path:
            table.to_csv(path, index=False, float_format="%.6g")


def _write_maps(
    found: Landscape, volumes: Tensor, voxel_size: float, output: Path
) -> None:
    from multicryogan.io import write_volume
    from multicryogan.report.viewers import write_viewers

    for number, state in enumerate(found.states, start=1):
        path = output / f"state_{number}.mrc"
        write_volume(path, volumes[state.conformation], voxel_size)
    for way in found.ways:
        first, last = (end + 1 for end in way.ends)
        folder = output / f"way_{first}_{last}"
        folder.mkdir(exist_ok=True)
        along = volumes[list(way.conformations)]
        for index, volume in enumerate(along, start=1):
            write_volume(folder / f"volume_{index:03d}.mrc", volume, voxel_size)
        write_viewers(along, folder)


def _write_particles(
    assigned: Path, found: Landscape, conformation: Tensor, output: Path
) -> None:
    """Write the particles of each state, if they came as a table."""
    from multicryogan.io import (
        load_cryosparc,
        read_particles,
        write_cryosparc,
        write_star,
    )

    star, cs = assigned / f"{ASSIGNED}.star", assigned / f"{ASSIGNED}.cs"
    stack = read_particles(star) if star.is_file() else None
    rows = load_cryosparc(cs)[0] if cs.is_file() else None
    state = found.state_of[conformation.numpy()]
    for number in range(len(found.states)):
        name = output / f"particles_state_{number + 1}"
        chosen = state == number
        if not chosen.any():
            continue
        if stack is not None:
            write_star(name.with_suffix(".star"), stack.table[chosen], stack.optics)
        elif rows is not None:
            write_cryosparc(name.with_suffix(".cs"), rows[chosen])
