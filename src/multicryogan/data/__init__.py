"""Preparation and sampling of particle images."""

from multicryogan.data.background_check import check_background, inspect_background
from multicryogan.data.check import Report, check_particles
from multicryogan.data.optics import lack_of_ctf
from multicryogan.data.portrait import Portrait, portray
from multicryogan.data.preprocess import (
    Contrast,
    Preprocessing,
    background_mask,
    detect_contrast,
    normalise_background,
    standardise,
    working_images,
)

__all__ = [
    "Contrast",
    "Portrait",
    "Preprocessing",
    "Report",
    "background_mask",
    "check_background",
    "check_particles",
    "detect_contrast",
    "inspect_background",
    "lack_of_ctf",
    "normalise_background",
    "portray",
    "standardise",
    "working_images",
]
