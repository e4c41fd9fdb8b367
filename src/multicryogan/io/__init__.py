"""Particle, volume and table files."""

from multicryogan.io.atomic import whole_file
from multicryogan.io.mrc import (
    StackWriter,
    Volume,
    read_volume,
    write_stack,
    write_volume,
)
from multicryogan.io.particles import ParticleStack, read_particles
from multicryogan.io.relion import with_poses
from multicryogan.io.rows import OpticsOverride
from multicryogan.io.star import read_star, write_star

__all__ = [
    "OpticsOverride",
    "ParticleStack",
    "StackWriter",
    "Volume",
    "read_particles",
    "read_star",
    "read_volume",
    "whole_file",
    "with_poses",
    "write_stack",
    "write_star",
    "write_volume",
]
