"""Small structures for the tests of synthetic data."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Atom = tuple[str, str, str, int, tuple[float, float, float]]
PdbWriter = Callable[..., Path]


@pytest.fixture
def write_pdb(tmp_path: Path) -> PdbWriter:
    """Write models of (name, element, chain, residue, (x, y, z)) to a PDB file."""

    def write(name: str, *models: Sequence[Atom], residue: str = "ALA") -> Path:
        lines = []
        for number, atoms in enumerate(models, start=1):
            lines.append(f"MODEL     {number:4d}")
            for serial, (atom, element, chain, resnum, xyz) in enumerate(atoms, 1):
                x, y, z = xyz
                lines.append(
                    f"ATOM  {serial:5d}  {atom:<3s} {residue:>3s} {chain}{resnum:4d}"
                    f"    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 50.00          {element:>2s}"
                )
            lines.append("ENDMDL")
        path = tmp_path / name
        path.write_text("\n".join([*lines, "END", ""]))
        return path

    return write
