"""Atomic models in files."""

from pathlib import Path

import gemmi
import numpy as np


def models_in(path: Path) -> list[np.ndarray]:
    """(A, 3) positions of each model of a structure file."""
    structure = gemmi.read_structure(str(path))
    return [np.array([r.atom.pos.tolist() for r in m.all()]) for m in structure]
