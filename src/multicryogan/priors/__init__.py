"""What the simulator draws: conformation, pose, shift, optics."""

from multicryogan.priors.joint import ImagingPrior
from multicryogan.priors.latent import LatentPrior

__all__ = ["ImagingPrior", "LatentPrior"]
