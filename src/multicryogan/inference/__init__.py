"""What is told of particles: refined conformations, poses, shares, verdicts."""

from multicryogan.inference.assignment import (
    Assignment,
    assign,
    check_particles,
    generator_manifold,
    latent_grid,
)
from multicryogan.inference.findings import FINDINGS, find, share_table
from multicryogan.inference.fit import Fit, measure_fit
from multicryogan.inference.landscape import Landscape, measure_landscape
from multicryogan.inference.leakage import LEAKAGE, measure_leakage
from multicryogan.inference.likeness import LIKENESS, Likeness, read_likeness
from multicryogan.inference.manifold_file import MANIFOLD, load_manifold
from multicryogan.inference.opened import Assigned, Run, open_assigned, open_run
from multicryogan.inference.placed import Placed, read_placed
from multicryogan.inference.refine import check_halves, describe, refine_run
from multicryogan.inference.refined import Refined
from multicryogan.inference.refinement import State
from multicryogan.inference.series import NPZ, POPULATIONS, Series, read_series
from multicryogan.inference.verdict import (
    VERDICT,
    judge_refined,
    judge_run,
    read_verdict,
)

__all__ = [
    "FINDINGS",
    "LEAKAGE",
    "LIKENESS",
    "MANIFOLD",
    "NPZ",
    "POPULATIONS",
    "VERDICT",
    "Assigned",
    "Assignment",
    "Fit",
    "Landscape",
    "Likeness",
    "Placed",
    "Refined",
    "Run",
    "Series",
    "State",
    "assign",
    "check_halves",
    "check_particles",
    "describe",
    "find",
    "generator_manifold",
    "judge_refined",
    "judge_run",
    "latent_grid",
    "load_manifold",
    "measure_fit",
    "measure_landscape",
    "measure_leakage",
    "open_assigned",
    "open_run",
    "read_likeness",
    "read_placed",
    "read_series",
    "read_verdict",
    "refine_run",
    "share_table",
]
