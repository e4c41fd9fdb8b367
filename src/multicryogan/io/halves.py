"""The half-sets of particles: those of their file, or every other one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from multicryogan.io.particles import ParticleStack

SUBSET, SPLIT = "rlnRandomSubset", "alignments3D/split"


def half_sets(stack: ParticleStack, seed: int) -> NDArray[np.uint32]:
    """Number the half-set of each particle: (N,) 0 or 1.

    Those of rlnRandomSubset or alignments3D/split are kept when they name two sets.
    Others alternate, as neighbours in a file come from one micrograph and both halves
    should see all of them; the parity of the seed says which half comes first.
    """
    from multicryogan.io.cryosparc import load_cryosparc

    named = np.empty(0)
    if SUBSET in stack.table.columns:
        named = stack.table[SUBSET].to_numpy()
    elif stack.path.suffix.lower() == ".cs":
        rows = load_cryosparc(stack.path)[0]
        if SPLIT in (rows.dtype.names or ()) and rows[SPLIT].ndim == 1:
            named = rows[SPLIT]
    values = np.unique(named)
    if len(values) == 2:
        return np.asarray(named == values[1], dtype=np.uint32)
    return ((np.arange(len(stack)) + seed) % 2).astype(np.uint32)
