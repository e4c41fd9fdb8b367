"""Atoms from PDB and mmCIF files: what the synthetic molecule is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multicryogan.errors import InputError

if TYPE_CHECKING:
    import gemmi

RCSB = "https://files.rcsb.org/download"
TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Atoms:
    """A atoms of a molecule, one row each."""

    positions: NDArray[np.float64]  # (A, 3) (x, y, z) in Å
    elements: NDArray[np.str_]  # (A,) chemical symbols
    chains: NDArray[np.str_]  # (A,) chain names
    residues: NDArray[np.int64]  # (A,) residue numbers
    residue_names: NDArray[np.str_]  # (A,) ALA, DA, ...
    names: NDArray[np.str_]  # (A,) atom names: CA, CB, ...

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, rows: NDArray[np.bool_]) -> Atoms:
        """Take the atoms where (A,) `rows` is true."""
        return Atoms(
            self.positions[rows],
            self.elements[rows],
            self.chains[rows],
            self.residues[rows],
            self.residue_names[rows],
            self.names[rows],
        )


def read_structures(names: tuple[str, ...], base: Path) -> Atoms:
    """Read the atoms of one or several structures into one molecule.

    Several structures are one molecule in the coordinates of their files. When two
    of them use the same chain name, the chains are renamed A, B, C, ... in order.

    Args:
        names: Paths of PDB or mmCIF files, or four-character PDB ids.
        base: Folder that relative paths start from.

    Returns:
        All atoms but hydrogens, water and second conformations.
    """
    if not names:
        raise InputError('no structure given; name a PDB or mmCIF file, or "demo"')
    parts = [atoms_of(_open(name, base), name) for name in names]
    chains = [set(part.chains.tolist()) for part in parts]
    is_repeated = sum(map(len, chains)) > len(set().union(*chains))
    renamed = _rename_chains(parts) if is_repeated else [part.chains for part in parts]
    return Atoms(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.elements for part in parts]),
        np.concatenate(renamed),
        np.concatenate([part.residues for part in parts]),
        np.concatenate([part.residue_names for part in parts]),
        np.concatenate([part.names for part in parts]),
    )


def open_structure(path: Path) -> gemmi.Structure:
    """Read a PDB or mmCIF file, without hydrogens, water or second conformations."""
    import gemmi

    if not path.is_file():
        raise InputError(f"no structure file {path}; check the path")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        is_empty = isinstance(error, IndexError)  # gemmi asks for its first block
        reason = "it is empty" if is_empty else " ".join(str(error).split())
        raise InputError(
            f"{path} is not a PDB or mmCIF file: {reason}; give another, or copy it "
            "here again"
        ) from None
    return _clean(structure)


def atoms_of(structure: gemmi.Structure, name: str) -> Atoms:
    """List the atoms of the first model.

    Raises:
        InputError: There are no atoms, or the element of one is unknown.
    """
    rows = list(structure[0].all()) if len(structure) else []
    if not rows:
        raise InputError(f"{name} holds no atoms; is it a PDB or mmCIF file?")
    elements = np.array([row.atom.element.name for row in rows])
    if "X" in elements:
        raise InputError(
            f"{name} has atoms without an element; fill in its last column"
        )
    return Atoms(
        np.array([row.atom.pos.tolist() for row in rows]),
        elements,
        np.array([row.chain.name for row in rows]),
        np.array([row.residue.seqid.num for row in rows], dtype=np.int64),
        np.array([row.residue.name for row in rows]),
        np.array([row.atom.name for row in rows]),
    )


def _open(name: str, base: Path) -> gemmi.Structure:
    """Open a path, or fetch a PDB id when no file has that name."""
    path = base / name
    if not path.exists() and re.fullmatch(r"[0-9][A-Za-z0-9]{3}", name):
        return _fetch(name)
    return open_structure(path)


def _fetch(pdb_id: str) -> gemmi.Structure:
    """Download an entry of the Protein Data Bank."""
    from urllib.error import URLError
    from urllib.request import urlopen

    import gemmi

    url = f"{RCSB}/{pdb_id.upper()}.cif"
    try:
        with urlopen(url, timeout=TIMEOUT_S) as reply:
            text = reply.read().decode()
        document = gemmi.cif.read_string(text)
        structure = gemmi.make_structure_from_block(document.sole_block())
    except (URLError, OSError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(
            f"cannot fetch PDB entry {pdb_id} from {url} ({error}); "
            "download the file by hand and give its path instead"
        ) from None
    return _clean(structure)


def _clean(structure: gemmi.Structure) -> gemmi.Structure:
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    structure.remove_waters()
    return structure


def _rename_chains(parts: list[Atoms]) -> list[NDArray[np.str_]]:
    """Name the chains of all parts A, B, C, ... in order of appearance."""
    renamed, count = [], 0
    for part in parts:
        old = list(dict.fromkeys(part.chains.tolist()))
        new = {chain: _chain_name(count + i) for i, chain in enumerate(old)}
        renamed.append(np.array([new[chain] for chain in part.chains.tolist()]))
        count += len(old)
    return renamed


def _chain_name(index: int) -> str:
    """A to Z, then AA, AB, ..."""
    first, last = divmod(index, 26)
    letter = chr(ord("A") + last)
    return letter if first == 0 else _chain_name(first - 1) + letter
