"""Particle, volume and table files."""

from multicryogan.io.arrays import read_archive, read_arrays
from multicryogan.io.atomic import one_writer, whole_file
from multicryogan.io.cryodrgn import CryodrgnTables, cryodrgn_tables, write_cryodrgn
from multicryogan.io.cryosparc import load_cryosparc, with_columns
from multicryogan.io.cryosparc_poses import (
    with_cryosparc_poses,
    write_cryosparc,
)
from multicryogan.io.halves import half_sets
from multicryogan.io.mrc import (
    StackWriter,
    Volume,
    read_volume,
    write_stack,
    write_volume,
)
from multicryogan.io.particles import (
    GROUP_COLUMNS,
    ImageGrid,
    ParticleStack,
    read_particles,
)
from multicryogan.io.relion import with_poses
from multicryogan.io.rows import OpticsOverride
from multicryogan.io.star import read_star, write_star
from multicryogan.io.table import read_facts, read_table

__all__ = [
    "GROUP_COLUMNS",
    "CryodrgnTables",
    "ImageGrid",
    "OpticsOverride",
    "ParticleStack",
    "StackWriter",
    "Volume",
    "cryodrgn_tables",
    "half_sets",
    "load_cryosparc",
    "one_writer",
    "read_archive",
    "read_arrays",
    "read_facts",
    "read_particles",
    "read_star",
    "read_table",
    "read_volume",
    "whole_file",
    "with_columns",
    "with_cryosparc_poses",
    "with_poses",
    "write_cryodrgn",
    "write_cryosparc",
    "write_stack",
    "write_star",
    "write_volume",
]
