"""What volumes say about single images: likelihoods over poses."""

from multicryogan.inference.fit import Fit, measure_fit
from multicryogan.inference.likelihood import (
    ImageLaw,
    Score,
    log_evidence,
    marginal_log_likelihood,
    mean_score,
)

__all__ = [
    "Fit",
    "ImageLaw",
    "Score",
    "log_evidence",
    "marginal_log_likelihood",
    "mean_score",
    "measure_fit",
]
