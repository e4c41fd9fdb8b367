"""Particle and optics tables of a synthetic data set, as RELION 3.1 writes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multicryogan.config import SimulationConfig
from multicryogan.io.star import write_star
from multicryogan.synthetic.draws import Views, micrographs, number_in_group
from multicryogan.synthetic.groups import OpticsGroup, optics_groups

if TYPE_CHECKING:
    import pandas as pd

PARTICLES, BACKGROUND = "particles", "background"


def stack_name(kind: str, number: int, groups: int) -> str:
    """Name the stack of an optics group; boxes differ, so each has its own."""
    return f"{kind}.mrcs" if groups == 1 else f"{kind}_group_{number}.mrcs"


def write_particles(folder: Path, config: SimulationConfig, views: Views) -> None:
    """Write particles.star: optics without poses."""
    table = _table(PARTICLES, config, views, torch.arange(config.images))
    write_star(folder / f"{PARTICLES}.star", table, _optics_table(config))


def write_background(folder: Path, config: SimulationConfig, views: Views) -> None:
    """Write background.star: patches beside particles, with their optics."""
    table = _table(BACKGROUND, config, views, background_rows(config))
    write_star(folder / f"{BACKGROUND}.star", table, _optics_table(config))


def background_rows(config: SimulationConfig) -> Tensor:
    """(P,) row of the particle that each patch lies beside, spread over all."""
    patches = torch.arange(config.background_patches)
    return patches * config.images // config.background_patches


def _table(
    kind: str, config: SimulationConfig, views: Views, rows: Tensor
) -> pd.DataFrame:
    """One row for each image of the stacks of a kind, taken as particles `rows`."""
    import pandas as pd

    groups = len(optics_groups(config))
    ctf, group = views.ctf.select(rows), views.group[rows]
    number = number_in_group(group).tolist()
    names = [stack_name(kind, i + 1, groups) for i in range(groups)]
    labels = [""] if groups == 1 else [f"{i + 1}_" for i in range(groups)]
    micrograph = micrographs(views.group)[rows].tolist()
    table = pd.DataFrame(
        {
            "rlnImageName": [
                f"{i + 1:06d}@{names[g]}"
                for i, g in zip(number, group.tolist(), strict=True)
            ],
            "rlnMicrographName": [
                f"synthetic_{labels[g]}{m + 1:05d}.mrc"
                for m, g in zip(micrograph, group.tolist(), strict=True)
            ],
            "rlnOpticsGroup": (group + 1).numpy(),
            "rlnDefocusU": ctf.defocus_u_angstrom.numpy(),
            "rlnDefocusV": ctf.defocus_v_angstrom.numpy(),
            "rlnDefocusAngle": ctf.defocus_angle_deg.numpy(),
            "rlnPhaseShift": ctf.phase_shift_deg.numpy(),
        }
    )
    assert ctf.bfactor_angstrom2 is not None
    table["rlnCtfBfactor"] = ctf.bfactor_angstrom2.numpy()
    table["rlnCtfScalefactor"] = 1.0
    if config.contrast_in_star and ctf.scale is not None:
        table["rlnCtfScalefactor"] = ctf.scale.numpy()
    return table


def _optics_table(config: SimulationConfig) -> pd.DataFrame:
    """One row for each optics group."""
    import pandas as pd

    return pd.DataFrame([_optics_row(group) for group in optics_groups(config)])


def _optics_row(group: OpticsGroup) -> dict[str, object]:
    return {
        "rlnOpticsGroup": group.number,
        "rlnOpticsGroupName": f"opticsGroup{group.number}",
        "rlnVoltage": group.optics.voltage_kv,
        "rlnSphericalAberration": group.optics.cs_mm,
        "rlnAmplitudeContrast": group.optics.amplitude_contrast,
        "rlnImagePixelSize": group.geometry.pixel_size,
        "rlnImageSize": group.geometry.box,
        "rlnImageDimensionality": 2,
        "rlnCtfDataAreCtfPremultiplied": 0,
    }
