"""What volumes say about single images: likelihoods over poses."""

from multicryogan.inference.assignment import (
    Assignment,
    assign,
    check_particles,
    latent_grid,
)
from multicryogan.inference.fit import Fit, measure_fit
from multicryogan.inference.likelihood import (
    ImageLaw,
    PosePosterior,
    Score,
    marginal_log_likelihood,
    mean_score,
    pose_posterior,
)
from multicryogan.inference.posterior import Placement, place
from multicryogan.inference.verdict import VERDICT, write_verdict

__all__ = [
    "VERDICT",
    "Assignment",
    "Fit",
    "ImageLaw",
    "Placement",
    "PosePosterior",
    "Score",
    "assign",
    "check_particles",
    "latent_grid",
    "marginal_log_likelihood",
    "mean_score",
    "measure_fit",
    "place",
    "pose_posterior",
    "write_verdict",
]
