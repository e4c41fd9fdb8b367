"""Atomic models of the true conformations: one mmCIF file, a model for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multicryogan.errors import InputError
from multicryogan.io import whole_file
from multicryogan.synthetic.conformations import Conformations
from multicryogan.synthetic.groups import Geometry
from multicryogan.synthetic.structure import Atoms, open_structure

if TYPE_CHECKING:
    import gemmi

MODELS = "models.cif"
MOST_MODELS = 50  # a table of hundreds of states would be gigabytes of text
NAME = "multicryogan"


def write_models(
    path: Path,
    atoms: Atoms,
    conformations: Conformations,
    states: NDArray[np.float64],
    geometry: Geometry,
) -> None:
    """Write a model for each of M conformations (M, d), numbered from 1.

    They stand in the maps: positions are x, y, z in Å from the corner of a map, where
    its file has the origin, and the centre voxel lies at `box // 2` voxels.

    Args:
        path: An mmCIF file.
        atoms: Of the molecule, as its conformations list them.
        conformations: The molecule.
        states: The conformations.
        geometry: Of the maps.
    """
    import gemmi

    structure = gemmi.Structure()
    centre = geometry.box // 2 * geometry.pixel_size
    for number, state in enumerate(states, start=1):
        placed = conformations.positions(state) + centre
        rows = np.flatnonzero(conformations.is_present(state))
        structure.add_model(_model(number, atoms, placed, rows))
    _write(structure, path)


def place_models(
    source: Path,
    numbers: NDArray[np.int64],
    rotation: NDArray[np.float64],
    offset: NDArray[np.float64],
    path: Path,
) -> None:
    """Write V of the models in `source`, each moved: x becomes rotation @ x + offset.

    Args:
        source: Of `write_models`.
        numbers: (V,) which of its models, from 0.
        rotation: (V, 3, 3); one that mirrors makes a mirror image.
        offset: (V, 3) in Å.
        path: An mmCIF file.

    Raises:
        InputError: The source is missing, or holds too few models.
    """
    import gemmi

    models = list(open_structure(source))
    if len(models) <= int(numbers.max()):
        raise InputError(
            f"{source} holds {len(models)} models, fewer than there are true maps; "
            "simulate again"
        )
    structure = gemmi.Structure()
    for place, number in enumerate(numbers.tolist()):
        model = models[number].clone()
        model.num = place + 1
        turn = gemmi.Mat33(rotation[place].tolist())
        shift = gemmi.Vec3(*offset[place].tolist())
        model.transform_pos_and_adp(gemmi.Transform(turn, shift))
        structure.add_model(model)
    _write(structure, path)


def _model(
    number: int,
    atoms: Atoms,
    positions: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> gemmi.Model:
    """List the atoms of some rows, by chain and residue."""
    import gemmi

    model = gemmi.Model(number)
    chain, residue = None, None
    for row in rows.tolist():
        if chain is None or chain.name != atoms.chains[row]:
            chain, residue = model.add_chain(str(atoms.chains[row])), None
        if residue is None or residue.seqid.num != atoms.residues[row]:
            new = gemmi.Residue()
            new.name = str(atoms.residue_names[row])
            new.seqid = gemmi.SeqId(int(atoms.residues[row]), " ")
            residue = chain.add_residue(new)
        atom = gemmi.Atom()
        atom.name = str(atoms.names[row])
        atom.element = gemmi.Element(str(atoms.elements[row]))
        atom.pos = gemmi.Position(*positions[row].tolist())
        residue.add_atom(atom)
    return model


def _write(structure: gemmi.Structure, path: Path) -> None:
    structure.name = NAME
    structure.setup_entities()
    text = structure.make_mmcif_document().as_string()
    with whole_file(path) as unfinished:  # gemmi's own writer is silent of a full disk
        unfinished.write_text(text, encoding="utf-8")
