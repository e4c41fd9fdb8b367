"""Synthetic data sets with ground truth, from atoms that move."""

from multicryogan.synthetic.dataset import simulate
from multicryogan.synthetic.models import place_models
from multicryogan.synthetic.truth import PRESENT, Truth, models_path, read_truth

__all__ = [
    "PRESENT",
    "Truth",
    "models_path",
    "place_models",
    "read_truth",
    "simulate",
]
