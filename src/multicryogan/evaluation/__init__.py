"""How good a reconstruction is: pure functions of volumes and latents."""

from multicryogan.evaluation.alignment import (
    Alignment,
    align,
    apply_alignment,
    common_alignment,
)
from multicryogan.evaluation.baselines import mean_map, mean_map_fsc
from multicryogan.evaluation.comparison import (
    Comparison,
    Match,
    compare_maps,
    match_sets,
    on_one_grid,
)
from multicryogan.evaluation.frames import Frames, OwnFrames, own_frames
from multicryogan.evaluation.fsc import (
    fsc,
    fsc_area,
    last_shell_above,
    resolution_angstrom,
)
from multicryogan.evaluation.fsccc import fsccc, fsccc_aligned
from multicryogan.evaluation.half_maps import (
    HalfSetFSC,
    half_set_fsc,
    solvent_mask,
)
from multicryogan.evaluation.judgement import Judgement, Resemblance, StateScore
from multicryogan.evaluation.neighbours import (
    align_neighbours,
    inner_shells,
    neighbour_frames,
)
from multicryogan.evaluation.occupancy import Density, Occupancy
from multicryogan.evaluation.populations import paper_rule, shares, widest_step
from multicryogan.evaluation.scores import Scores, score

__all__ = [
    "Alignment",
    "Comparison",
    "Density",
    "Frames",
    "HalfSetFSC",
    "Judgement",
    "Match",
    "Occupancy",
    "OwnFrames",
    "Resemblance",
    "Scores",
    "StateScore",
    "align",
    "align_neighbours",
    "apply_alignment",
    "common_alignment",
    "compare_maps",
    "fsc",
    "fsc_area",
    "fsccc",
    "fsccc_aligned",
    "half_set_fsc",
    "inner_shells",
    "last_shell_above",
    "match_sets",
    "mean_map",
    "mean_map_fsc",
    "neighbour_frames",
    "on_one_grid",
    "own_frames",
    "paper_rule",
    "resolution_angstrom",
    "score",
    "shares",
    "solvent_mask",
    "widest_step",
]
