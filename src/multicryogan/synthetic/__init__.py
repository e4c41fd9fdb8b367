"""Synthetic data sets with ground truth, from atoms that move."""

from multicryogan.synthetic.dataset import simulate
from multicryogan.synthetic.truth import PRESENT, Truth, read_truth

__all__ = ["PRESENT", "Truth", "read_truth", "simulate"]
