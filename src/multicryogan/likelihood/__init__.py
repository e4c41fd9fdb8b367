"""What volumes say about images: likelihoods and posteriors over poses."""

from multicryogan.likelihood.expectation import Examination
from multicryogan.likelihood.manifold import Manifold
from multicryogan.likelihood.marginal import (
    ImageLaw,
    PosePosterior,
    Score,
    evidence,
    mean_score,
    pose_posterior,
)
from multicryogan.likelihood.poses import PoseTree
from multicryogan.likelihood.posterior import Placement, place
from multicryogan.likelihood.thinning import CLOSE

__all__ = [
    "CLOSE",
    "Examination",
    "ImageLaw",
    "Manifold",
    "Placement",
    "PosePosterior",
    "PoseTree",
    "Score",
    "evidence",
    "mean_score",
    "place",
    "pose_posterior",
]
