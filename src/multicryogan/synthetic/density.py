"""Density of atoms on a grid: electron scattering, blurred to a resolution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    import gemmi

RELATIVE_CUTOFF = 1e-5  # of the blur's peak: there an atom ends, 0.02 % of it is lost


def blur_b_angstrom2(resolution: float) -> float:
    """B-factor of the Gaussian whose transform falls to 1/e at 1 / resolution.

    That Gaussian is exp(-(resolution s)²) = exp(-B s² / 4); its standard deviation in
    real space is resolution / (π √2).
    """
    return 4 * resolution**2


def blur_sigma_angstrom(resolution: float) -> float:
    """Standard deviation in Å of the blur in real space."""
    return resolution / (math.pi * math.sqrt(2))


def atom_density(
    elements: NDArray[np.str_],
    positions: NDArray[np.float64],
    box: int,
    voxel_size: float,
    resolution: float,
) -> Tensor:
    """Sum the electron scattering densities of atoms, sampled at voxel centres.

    Each atom is sum_i a_i (4π / (b_i + B))^(3/2) exp(-4π² r² / (b_i + B)) with the
    electron scattering factors of International Tables C 4.3.2.2 and the blur B.
    B-factors of the file are not used: the blur alone sets the resolution.

    Args:
        elements: (A,) chemical symbols.
        positions: (A, 3) (x, y, z) in Å from the centre of voxel box // 2. The grid
            is periodic: atoms must be inside the box.
        box: Side D in voxels.
        voxel_size: Å per voxel.
        resolution: Å at which the blur's transform has fallen to 1/e.

    Returns:
        (D, D, D) density in Å^-2, axes (z, y, x), float32.
    """
    import gemmi

    side = box * voxel_size
    calculator = gemmi.DensityCalculatorE()
    calculator.grid.set_unit_cell(gemmi.UnitCell(side, side, side, 90, 90, 90))
    calculator.grid.spacegroup = gemmi.SpaceGroup("P1")
    calculator.grid.set_size(box, box, box)
    blur = blur_b_angstrom2(resolution)
    calculator.blur = blur
    calculator.cutoff = RELATIVE_CUTOFF * (4 * math.pi / blur) ** 1.5
    residue = gemmi.Residue()
    corner = positions + (box // 2) * voxel_size
    for element, position in zip(elements.tolist(), corner.tolist(), strict=True):
        atom = gemmi.Atom()
        atom.element = gemmi.Element(element)
        atom.pos = gemmi.Position(*position)
        atom.b_iso = 0.0
        residue.add_atom(atom)
    calculator.add_model_density_to_grid(_model(residue))
    xyz = np.asarray(calculator.grid.array)
    return torch.from_numpy(np.ascontiguousarray(xyz.transpose(2, 1, 0)))


def _model(residue: gemmi.Residue) -> gemmi.Model:
    """Wrap one residue into the model that gemmi asks for."""
    import gemmi

    chain, model = gemmi.Chain("A"), gemmi.Model(1)
    chain.add_residue(residue)
    model.add_chain(chain)
    return model
