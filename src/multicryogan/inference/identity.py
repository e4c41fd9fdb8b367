"""What must stay the same when a refinement goes on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from multicryogan.inference.refinement import Refinement
from multicryogan.io import ParticleStack
from multicryogan.networks import Generator
from multicryogan.tables import to_dict


def describe_work(
    generator: Generator, work: Refinement, stack: ParticleStack
) -> dict[str, Any]:
    """Name all that must stay the same when a refinement goes on, as plain values.

    The number of iterations may differ: how long, not what. Files of masks count by
    what they hold.
    """
    masks = {"solvent": work.solvent, "focus": work.focus}
    return {
        "settings": to_dict(dataclasses.replace(work.config, iterations=0)),
        "particles": [str(stack.path.resolve()), len(stack)],
        "generator": _fingerprint(generator.state_dict()),
        "masks": _fingerprint({k: m for k, m in masks.items() if m is not None}),
        "symmetry": dataclasses.astuple(generator.symmetry),
    }


def _fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Digest of names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
