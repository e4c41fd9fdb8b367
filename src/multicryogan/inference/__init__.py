"""What volumes say about single images: likelihoods over poses."""

from multicryogan.inference.assignment import (
    Assignment,
    assign,
    assigned_level,
    check_particles,
    generator_manifold,
    latent_grid,
)
from multicryogan.inference.expectation import Examination
from multicryogan.inference.findings import find, share_table
from multicryogan.inference.fit import Fit, measure_fit
from multicryogan.inference.leakage import measure_leakage
from multicryogan.inference.likelihood import (
    ImageLaw,
    PosePosterior,
    Score,
    marginal_log_likelihood,
    mean_score,
    pose_posterior,
)
from multicryogan.inference.manifold import Manifold
from multicryogan.inference.manifold_file import MANIFOLD, load_manifold
from multicryogan.inference.poses import PoseTree
from multicryogan.inference.posterior import Placement, place
from multicryogan.inference.refine import Refined, refine_run
from multicryogan.inference.verdict import VERDICT, write_verdict

__all__ = [
    "MANIFOLD",
    "VERDICT",
    "Assignment",
    "Examination",
    "Fit",
    "ImageLaw",
    "Manifold",
    "Placement",
    "PosePosterior",
    "PoseTree",
    "Refined",
    "Score",
    "assign",
    "assigned_level",
    "check_particles",
    "find",
    "generator_manifold",
    "latent_grid",
    "load_manifold",
    "marginal_log_likelihood",
    "mean_score",
    "measure_fit",
    "measure_leakage",
    "place",
    "pose_posterior",
    "refine_run",
    "share_table",
    "write_verdict",
]
