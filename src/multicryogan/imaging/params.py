"""The imaging parameters of equation (1): pose, shift and optics of each particle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CTFParams:
    """Optics of particles. Every field has one common batch shape (...)."""

    defocus_u_angstrom: Tensor  # underfocus is positive
    defocus_v_angstrom: Tensor
    defocus_angle_deg: Tensor  # from +x to the U axis
    phase_shift_deg: Tensor
    voltage_kv: Tensor
    cs_mm: Tensor
    amplitude_contrast: Tensor  # fraction w, 0 <= w < 1
    bfactor_angstrom2: Tensor | None = None  # none: 0
    scale: Tensor | None = None  # none: 1
    group: Tensor | None = None  # int64 number of the optics group; none: 0

    def select(self, rows: Tensor) -> CTFParams:
        """Take rows, (B,) indices or a mask, of the first axis."""
        return self._map(lambda field: field[rows])

    def reshape(self, *shape: int) -> CTFParams:
        """Give every field the batch shape `shape`."""
        return self._map(lambda field: field.reshape(*shape))

    def to(self, target: torch.device | torch.dtype | str) -> CTFParams:
        """Move every field to a device, or those that measure to a dtype."""
        is_dtype = isinstance(target, torch.dtype)
        return self._map(
            lambda field: (
                field.to(target) if field.is_floating_point() or not is_dtype else field
            )
        )

    def of_group(self, table: Tensor) -> Tensor:
        """Look up (G, ...) values of groups for every particle: (..., ...).

        A table of one group serves particles whose group is not known.
        """
        if self.group is None:
            assert len(table) == 1
            return table[0].expand(*self.voltage_kv.shape, *table.shape[1:])
        return table[self.group]

    def _map(self, change: Callable[[Tensor], Tensor]) -> CTFParams:
        present = {
            field.name: change(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) is not None
        }
        return CTFParams(**present)


@dataclass(frozen=True, slots=True)
class ImagingParams:
    """The imaging parameters φ = (θ, t, c) of V volumes with P poses each."""

    rotation: Tensor  # (V, P, 3, 3) matrices A, r_image = A r_volume
    shift_angstrom: Tensor | None = None  # (V, P, 2) (x, y): where the particle sits
    ctf: CTFParams | None = None  # fields (V, P)
    contrast: Tensor | None = None  # (V, P) strength of what no row tells; none: 1
    row: Tensor | None = None  # (V, P) particles whose optics these are, on the CPU
