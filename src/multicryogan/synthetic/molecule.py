"""From the configuration of a molecule to atoms that move, centred for a box."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multicryogan.config import MoleculeConfig, MotionConfig
from multicryogan.errors import InputError
from multicryogan.synthetic.conformations import (
    Conformations,
    Frames,
    RigidMotion,
    RigidMotions,
    motion_ball,
)
from multicryogan.synthetic.demo import demo_molecule
from multicryogan.synthetic.density import blur_sigma_angstrom
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
    if config.frames and config.motions:
        raise InputError("both molecule.frames and molecule.motions are set; keep one")
    if config.frames:
        conformations: Conformations = _read_frames(config, base)
    else:
        conformations = _rigid_motions(config, base)
    centre, _ = motion_ball(conformations)
    return conformations.moved(-centre)


def check_extent(
    conformations: Conformations, box: int, pixel_size: float, resolution: float
) -> None:
    """Refuse a molecule that does not fit the box in some conformation.

    Raises:
        InputError: An atom and its blur come closer to the edge than the half box.
    """
    _, radius = motion_ball(conformations)
    needed = radius + blur_sigma_angstrom(resolution)
    if needed > box * pixel_size / 2:
        fitting = 2 * math.ceil(needed / pixel_size)
        raise InputError(
            f"the molecule reaches {radius:.1f} Å from its centre, but a box of {box} "
            f"pixels of {pixel_size:g} Å holds {box * pixel_size / 2:.1f} Å; "
            f"use box = {fitting} or larger pixels"
        )


def _rigid_motions(config: MoleculeConfig, base: Path) -> RigidMotions:
    """The molecule with its rigid motions."""
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
    return RigidMotions(atoms.elements, atoms.positions, rigid)


def _rigid_motion(atoms: Atoms, config: MotionConfig, number: int) -> RigidMotion:
    """Resolve the selection of one motion."""
    first, last = config.residues
    is_moving = (atoms.residues >= first) & (atoms.residues <= last)
    if config.chains:
        is_moving &= np.isin(atoms.chains, config.chains)
    if not is_moving.any() or is_moving.all():
        chains = ", ".join(dict.fromkeys(atoms.chains.tolist()))
        count = "all" if is_moving.all() else "no"
        raise InputError(
            f"motion {number} selects {count} atoms (chains {list(config.chains)}, "
            f"residues {first} to {last}); the molecule has chains {chains} with "
            f"residues {atoms.residues.min()} to {atoms.residues.max()}"
        )
    axis = np.array(config.axis)
    if not np.linalg.norm(axis) > 0:
        raise InputError(f"motion {number} has an axis of length zero; give (x, y, z)")
    return RigidMotion(
        is_moving,
        np.array(config.pivot),
        axis / np.linalg.norm(axis),
        config.range_deg,
    )


def _read_frames(config: MoleculeConfig, base: Path) -> Frames:
    """Frames from a multi-model structure file or an .npz of coordinates."""
    path = base / config.frames
    if path.suffix == ".npz":
        atoms = _frame_atoms(config, base)
        frames, elements = _read_npz(path, atoms)
    elif path.suffix in MODEL_SUFFIXES:
        frames, elements = _read_models(path)
    else:
        raise InputError(f"frames {path}: expected .npz, .pdb or .cif")
    if len(frames) < 2:
        raise InputError(f"frames {path} holds one frame; a motion needs at least two")
    if not np.isfinite(frames).all():
        raise InputError(f"frames {path} holds coordinates that are not finite numbers")
    return Frames(elements, frames)


def _frame_atoms(config: MoleculeConfig, base: Path) -> Atoms:
    """The atoms whose elements and order the frames of an .npz follow."""
    if config.structures == ("demo",):
        return demo_molecule()[0]
    return read_structures(config.structures, base)


def _read_npz(path: Path, atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Coordinates of all atoms, or of the CA atoms alone, as (F, A, 3)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = [archive[name] for name in archive.files]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"frames {path} cannot be read: {error}") from None
    if len(arrays) != 1 or arrays[0].ndim != 3 or 3 not in arrays[0].shape[1:]:
        shapes = [array.shape for array in arrays]
        raise InputError(
            f"frames {path}: expected one array (frames, atoms, 3) or "
            f"(frames, 3, atoms), found {shapes}"
        )
    frames = arrays[0].astype(np.float64)
    frames = frames if frames.shape[2] == 3 else frames.transpose(0, 2, 1)
    is_ca = atoms.names == "CA"
    for elements in (atoms.elements, atoms.elements[is_ca]):
        if frames.shape[1] == len(elements):
            return frames, elements
    raise InputError(
        f"frames {path} has {frames.shape[1]} atoms; the structure has {len(atoms)}, "
        f"{is_ca.sum()} of them CA: give the structure that the frames were made from"
    )


def _read_models(path: Path) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Every model of a structure file is a frame."""
    structure = open_structure(path)
    elements = atoms_of(structure, str(path)).elements
    models = [[row.atom.pos.tolist() for row in model.all()] for model in structure]
    lengths = {len(model) for model in models}
    if lengths != {len(elements)}:
        raise InputError(
            f"frames {path}: its models have {sorted(lengths)} atoms; "
            "all models must list the same atoms"
        )
    return np.array(models), elements
