"""The half-sets of particles: those of their file, or every other one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SUBSET = "rlnRandomSubset"


def alternate_halves(count: int, seed: int) -> NDArray[np.uint32]:
    """Number the half-set of each row, in turn: (count,) 0 or 1.

    Neighbours in a file come from one micrograph, so both halves see all of them. The
    parity of the seed says which half the first row belongs to.
    """
    return ((np.arange(count) + seed) % 2).astype(np.uint32)


def half_sets(table: pd.DataFrame, seed: int) -> NDArray[np.uint32]:
    """Number the half-set of each row of particles: (N,) 0 or 1.

    Those of rlnRandomSubset are kept when it names two, others alternate.
    """
    if SUBSET in table.columns:
        named = table[SUBSET].to_numpy()
        if set(named.tolist()) == {1, 2}:
            return (named - 1).astype(np.uint32)
    return alternate_halves(len(table), seed)
