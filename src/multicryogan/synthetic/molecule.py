"""From the configuration of a molecule to atoms that move, centred for a box."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multicryogan.config import MoleculeConfig, MotionConfig
from multicryogan.errors import InputError
from multicryogan.io.arrays import read_archive
from multicryogan.synthetic.composition import Composition
from multicryogan.synthetic.conformations import (
    Conformations,
    Frames,
    RigidMotion,
    RigidMotions,
    motion_ball,
)
from multicryogan.synthetic.demo import demo_molecule
from multicryogan.synthetic.density import blur_sigma_angstrom
from multicryogan.synthetic.groups import Geometry
from multicryogan.synthetic.structure import (
    Atoms,
    atoms_of,
    open_structure,
    read_structures,
)

MOST_MOTIONS = 2
MODEL_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".gz")


def load_conformations(config: MoleculeConfig, base: Path) -> Conformations:
    """Read the molecule and its motion, centred.

    Args:
        config: Structures and either rigid motions or frames.
        base: Folder that relative paths start from.

    Returns:
        The conformations, centred so that the smallest ball around all of them has
        its centre at the origin.
    """
    whole, atoms = _whole(config, base)
    conformations: Conformations = whole
    if config.domain.share < 1:
        domain = config.domain
        is_domain = _selected(atoms, domain.chains, domain.residues, "molecule.domain")
        conformations = Composition(whole, is_domain)
    centre, _ = motion_ball(conformations)
    return conformations.moved(-centre)


def load_atoms(config: MoleculeConfig, base: Path) -> Atoms:
    """List the atoms of the molecule as its conformations do, where the file has them.

    Args:
        config: As of `load_conformations`.
        base: Folder that relative paths start from.
    """
    return _whole(config, base)[1]


def check_extent(conformations: Conformations, geometry: Geometry) -> None:
    """Refuse a molecule that does not fit the box in some conformation.

    Raises:
        InputError: An atom and its blur come closer to the edge than the half box.
    """
    box, pixel_size = geometry.box, geometry.pixel_size
    _, radius = motion_ball(conformations)
    needed = radius + blur_sigma_angstrom(geometry.resolution)
    if needed > box * pixel_size / 2:
        fitting = 2 * math.ceil(needed / pixel_size)
        raise InputError(
            f"the molecule reaches {radius:.1f} Å from its centre, but a box of {box} "
            f"pixels of {pixel_size:g} Å holds {box * pixel_size / 2:.1f} Å; "
            f"use box = {fitting} or larger pixels"
        )


def _whole(config: MoleculeConfig, base: Path) -> tuple[RigidMotions | Frames, Atoms]:
    """Read all of the molecule, not centred, and its atoms."""
    if config.frames and config.motions:
        raise InputError("both molecule.frames and molecule.motions are set; keep one")
    read = _read_frames if config.frames else _rigid_motions
    return read(config, base)


def _rigid_motions(config: MoleculeConfig, base: Path) -> tuple[RigidMotions, Atoms]:
    """The molecule with its rigid motions, and its atoms."""
    motions = config.motions
    if config.structures == ("demo",):
        atoms, own_motions = demo_molecule()
        motions = motions or own_motions
    else:
        atoms = read_structures(config.structures, base)
    if len(motions) > MOST_MOTIONS:
        raise InputError(
            f"molecule.motions has {len(motions)} motions; at most {MOST_MOTIONS} "
            "can be combined"
        )
    rigid = tuple(_rigid_motion(atoms, m, i + 1) for i, m in enumerate(motions))
    return RigidMotions(atoms.elements, atoms.positions, rigid), atoms


def _rigid_motion(atoms: Atoms, config: MotionConfig, number: int) -> RigidMotion:
    """Resolve the selection of one motion."""
    is_moving = _selected(atoms, config.chains, config.residues, f"motion {number}")
    axis = np.array(config.axis)
    if not np.linalg.norm(axis) > 0:
        raise InputError(f"motion {number} has an axis of length zero; give (x, y, z)")
    return RigidMotion(
        is_moving,
        np.array(config.pivot),
        axis / np.linalg.norm(axis),
        config.range_deg,
    )


def _selected(
    atoms: Atoms, chains: tuple[str, ...], residues: tuple[int, int], what: str
) -> NDArray[np.bool_]:
    """(A,) whether an atom is of the chains and residues; some but not all must be."""
    first, last = residues
    is_selected = (atoms.residues >= first) & (atoms.residues <= last)
    if chains:
        is_selected &= np.isin(atoms.chains, chains)
    if not is_selected.any() or is_selected.all():
        known = ", ".join(dict.fromkeys(atoms.chains.tolist()))
        count = "all" if is_selected.all() else "no"
        raise InputError(
            f"{what} selects {count} atoms (chains {list(chains)}, "
            f"residues {first} to {last}); the molecule has chains {known} with "
            f"residues {atoms.residues.min()} to {atoms.residues.max()}"
        )
    return is_selected


def _read_frames(config: MoleculeConfig, base: Path) -> tuple[Frames, Atoms]:
    """Frames from a multi-model structure file or an .npz of coordinates."""
    path = base / config.frames
    if path.suffix == ".npz":
        frames, atoms = _read_npz(path, _frame_atoms(config, base))
    elif path.suffix in MODEL_SUFFIXES:
        frames, atoms = _read_models(path)
    else:
        raise InputError(f"frames {path}: expected .npz, .pdb or .cif")
    if len(frames) < 2:
        raise InputError(f"frames {path} holds one frame; a motion needs at least two")
    if not np.isfinite(frames).all():
        raise InputError(f"frames {path} holds coordinates that are not finite numbers")
    return Frames(atoms.elements, frames), atoms


def _frame_atoms(config: MoleculeConfig, base: Path) -> Atoms:
    """The atoms whose elements and order the frames of an .npz follow."""
    if config.structures == ("demo",):
        return demo_molecule()[0]
    return read_structures(config.structures, base)


def _read_npz(path: Path, atoms: Atoms) -> tuple[NDArray[np.float64], Atoms]:
    """Coordinates of all atoms, or of the CA atoms alone, as (F, A, 3)."""
    arrays = list(read_archive(path, "check molecule.frames").values())
    if len(arrays) != 1 or arrays[0].ndim != 3 or 3 not in arrays[0].shape[1:]:
        shapes = [array.shape for array in arrays]
        raise InputError(
            f"frames {path}: expected one array (frames, atoms, 3) or "
            f"(frames, 3, atoms), found {shapes}"
        )
    frames = arrays[0].astype(np.float64)
    frames = frames if frames.shape[2] == 3 else frames.transpose(0, 2, 1)
    is_ca = atoms.names == "CA"
    for listed in (atoms, atoms.select(is_ca)):
        if frames.shape[1] == len(listed):
            return frames, listed
    raise InputError(
        f"frames {path} has {frames.shape[1]} atoms; the structure has {len(atoms)}, "
        f"{is_ca.sum()} of them CA: give the structure that the frames were made from"
    )


def _read_models(path: Path) -> tuple[NDArray[np.float64], Atoms]:
    """Every model of a structure file is a frame."""
    structure = open_structure(path)
    atoms = atoms_of(structure, str(path))
    models = [[row.atom.pos.tolist() for row in model.all()] for model in structure]
    lengths = {len(model) for model in models}
    if lengths != {len(atoms)}:
        raise InputError(
            f"frames {path}: its models have {sorted(lengths)} atoms; "
            "all models must list the same atoms"
        )
    return np.array(models), atoms
