"""How good a reconstruction is: pure functions of volumes and latents."""

from multicryogan.evaluation.alignment import (
    Alignment,
    align,
    apply_alignment,
    common_alignment,
)
from multicryogan.evaluation.baselines import mean_map, mean_map_fsc
from multicryogan.evaluation.fsc import (
    fsc,
    fsc_area,
    last_shell_above,
    resolution_angstrom,
)
from multicryogan.evaluation.fsccc import fsccc, fsccc_aligned
from multicryogan.evaluation.neighbours import align_each, align_neighbours
from multicryogan.evaluation.populations import paper_rule, shares
from multicryogan.evaluation.scores import Resemblance, Scores, StateScore, score

__all__ = [
    "Alignment",
    "Resemblance",
    "Scores",
    "StateScore",
    "align",
    "align_each",
    "align_neighbours",
    "apply_alignment",
    "common_alignment",
    "fsc",
    "fsc_area",
    "fsccc",
    "fsccc_aligned",
    "last_shell_above",
    "mean_map",
    "mean_map_fsc",
    "paper_rule",
    "resolution_angstrom",
    "score",
    "shares",
]
