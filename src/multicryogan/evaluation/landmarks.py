"""A few true states, spread out, that stand for many: a table has hundreds."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_STATES = 49  # all of which are examined
LANDMARKS = 25  # of more


def spread_states(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Pick states that lie far apart, the corners of their range first.

    Args:
        coordinates: (M, c) of all states.

    Returns:
        (K,) indices of the picked ones, ascending, all where M is at most MOST_STATES;
        and (M,) the number, among these, of the one nearest to each state.
    """
    count = len(coordinates)
    if count <= MOST_STATES:
        everyone = torch.arange(count)
        return everyone, everyone
    low, high = coordinates.amin(0), coordinates.amax(0)
    place = (coordinates - low) / (high - low).clamp(min=1e-12)
    picked = [int(place.sum(1).argmin())]
    away = (place - place[picked[0]]).norm(dim=1)
    while len(picked) < LANDMARKS:
        picked.append(int(away.argmax()))
        away = torch.minimum(away, (place - place[picked[-1]]).norm(dim=1))
    chosen = torch.tensor(sorted(picked))
    return chosen, torch.cdist(place, place[chosen]).argmin(1)
