"""What the simulator draws: conformation, pose, shift, optics."""

from multicryogan.priors.joint import ImagingPrior
from multicryogan.priors.latent import LatentPrior
from multicryogan.priors.optics import with_defocus_range
from multicryogan.priors.views import ViewLaw

__all__ = ["ImagingPrior", "LatentPrior", "ViewLaw", "with_defocus_range"]
