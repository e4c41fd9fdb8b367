"""Continuous and discrete conformations from cryo-EM images, without poses."""

__version__ = "0.1.0"
