"""What the simulator draws: conformation, pose, shift, optics."""

from multicryogan.priors.joint import ImagingPrior
from multicryogan.priors.latent import VIEW_STEPS, LatentLaw, LatentPrior, TablePrior
from multicryogan.priors.optics import with_defocus_range
from multicryogan.priors.views import ViewLaw

__all__ = [
    "VIEW_STEPS",
    "ImagingPrior",
    "LatentLaw",
    "LatentPrior",
    "TablePrior",
    "ViewLaw",
    "with_defocus_range",
]
