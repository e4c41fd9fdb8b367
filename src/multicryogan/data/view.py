"""What the discriminator sees of an image, real or simulated."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from multicryogan.data.preprocess import Preprocessing, standardise
from multicryogan.fourier import disc_mask, low_pass, shell_index, shell_weights

EDGE_SHELLS = 1.5  # width of the low-pass's soft edge


@dataclass(frozen=True, slots=True)
class View:
    """Standardise, low-pass and rescale; the same for real and simulated images.

    Attributes:
        preprocessing: How images are standardised at the working box.
        shell: Low-pass in Fourier pixels; at or beyond the Nyquist shell there is none.
        total_power: (D//2+1,) power of standardised real images, which sets the gain
            that brings low-passed images back to unit variance.
    """

    preprocessing: Preprocessing
    shell: float
    total_power: Tensor

    @property
    def max_shell(self) -> int | None:
        """Highest shell that is seen at all; None: every shell."""
        box = self.preprocessing.box
        highest = int(self.shell + EDGE_SHELLS) + 1
        return None if highest >= box // 2 else highest

    def __call__(self, images: Tensor) -> Tensor:
        """Show (B, D, D) raw working images: (B, D, D) of unit variance."""
        standard = standardise(images, self.preprocessing)
        box = self.preprocessing.box
        if self.shell >= box / 2:
            return standard
        mask = disc_mask(box, self.shell, like=standard, edge=EDGE_SHELLS)
        return low_pass(standard, mask * self._gain(mask))

    def _gain(self, mask: Tensor) -> Tensor:
        """Square root of total over passed power."""
        box = self.preprocessing.box
        shells = shell_index(box, like=mask).clamp(max=box // 2)
        power = self.total_power[shells] * shell_weights(box, like=mask)
        inside = disc_mask(box, box / 2, like=mask)
        return ((power * inside).sum() / (power * mask.square()).sum()).sqrt()
