"""The forward model H_φ of equation (1), one file per operator."""

from multicryogan.imaging.ctf import ctf
from multicryogan.imaging.forward import form_images
from multicryogan.imaging.mask import resampled_mask, symmetric_mask
from multicryogan.imaging.noise import masked_radial_power, radial_power, sample_noise
from multicryogan.imaging.params import CTFParams, ImagingParams
from multicryogan.imaging.projection import project, project_spectrum
from multicryogan.imaging.shift import shift_images, shift_phase
from multicryogan.imaging.symmetry import ASYMMETRIC, Symmetry, symmetrise

__all__ = [
    "ASYMMETRIC",
    "CTFParams",
    "ImagingParams",
    "Symmetry",
    "ctf",
    "form_images",
    "masked_radial_power",
    "project",
    "project_spectrum",
    "radial_power",
    "resampled_mask",
    "sample_noise",
    "shift_images",
    "shift_phase",
    "symmetric_mask",
    "symmetrise",
]
