"""Frames: lay each volume of a series as a rigid body, in either hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from multicryogan.evaluation.alignment import JOINT_BOX, candidates_each, prepare
from multicryogan.evaluation.fsc import check_cubes
from multicryogan.evaluation.rigid import FINER, REFLECT, mirror, move, refine
from multicryogan.progress import Progress, ignore

AT_ONCE = 8  # pairs refined together


@dataclass(frozen=True, slots=True)
class Frames:
    """One rigid motion per volume, after a mirror in z where told."""

    rotation: Tensor  # (N, 3, 3)
    shift: Tensor  # (N, 3) voxels (x, y, z), after the rotation
    is_mirrored: Tensor  # (N,) bool

    def apply(self, volumes: Tensor) -> Tensor:
        """Move (N, D, D, D) volumes, each by its own motion."""
        return move(handed(volumes, self.is_mirrored), self.rotation, self.shift)

    def poses(self, rotation: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Turn poses of volumes into poses of the moved volumes, with the same images.

        A point p of a volume stands at r = R M p + t once it is moved, M its mirror or
        nothing. Images do not change when M stands on the left as well.

        Args:
            rotation: (B, 3, 3) matrices A, r_image = A r_volume.
            index: (B,) the volume that each belongs to.

        Returns:
            (B, 3, 3) matrices M A M R^T, and (B, 2) where the particle then sits in
            voxels (x, y).
        """
        turn, shift = self.rotation[index], self.shift[index]
        reflect = torch.where(self.is_mirrored[index, None], REFLECT, torch.ones(3))
        moved = reflect[:, :, None] * rotation * reflect[:, None] @ turn.mT
        return moved, -(moved @ shift[:, :, None])[:, :2, 0]

    def joined(self, other: Frames) -> Frames:
        """Append the motions of other volumes."""
        return Frames(
            torch.cat((self.rotation, other.rotation)),
            torch.cat((self.shift, other.shift)),
            torch.cat((self.is_mirrored, other.is_mirrored)),
        )

    def part(self, picked: slice | Tensor) -> Frames:
        """Pick some of the motions."""
        return Frames(
            self.rotation[picked], self.shift[picked], self.is_mirrored[picked]
        )


@dataclass(frozen=True, slots=True)
class OwnFrames:
    """Volumes with the motions that lay each on the mean state and on every state."""

    volumes: Tensor  # (N, D, D, D) as given
    on_mean: Frames
    rotation: Tensor  # (N, M, 3, 3)
    shift: Tensor  # (N, M, 3) voxels
    alike: Tensor  # (N,) the state that each is most like

    @property
    def on_alike(self) -> Frames:
        """The motion of each volume that lays it on the state it is most like."""
        each = torch.arange(len(self.alike))
        turn, slide = (part[each, self.alike] for part in (self.rotation, self.shift))
        return Frames(turn, slide, self.on_mean.is_mirrored)

    def lay(self, state: int, picked: Tensor) -> Tensor:
        """Lay the picked (P,) volumes on one state: (P, D, D, D)."""
        frames = Frames(
            self.rotation[:, state], self.shift[:, state], self.on_mean.is_mirrored
        )
        return frames.part(picked).apply(self.volumes[picked])

    def joined(self, other: OwnFrames) -> OwnFrames:
        """Append other volumes."""
        return OwnFrames(
            torch.cat((self.volumes, other.volumes)),
            self.on_mean.joined(other.on_mean),
            torch.cat((self.rotation, other.rotation)),
            torch.cat((self.shift, other.shift)),
            torch.cat((self.alike, other.alike)),
        )


def own_frames(
    volumes: Tensor, states: Tensor, mean: Tensor, progress: Progress = ignore
) -> OwnFrames:
    """Give every volume its own frame: images do not show that of a conformation.

    Rotations, shifts and both hands are searched globally on the mean map. From each
    of the best few poses the volume is refined locally on every state; the pose is
    kept at which it correlates best with the state most like it. All volumes, and the
    mean map as a baseline, are laid by this one rule.

    Args:
        volumes: (N, D, D, D) densities in any frames.
        states: (M, D, D, D) true densities in one frame.
        mean: (D, D, D) their mean.
        progress: Called with volumes and states done, and those in all.

    Returns:
        The volumes with their motions; a volume has one hand for all states.
    """
    check_cubes(volumes, states, mean)
    steps = len(volumes) + len(states)
    offered = candidates_each(volumes, mean, progress=lambda n, _: progress(n, steps))
    owner = [n for n, poses in enumerate(offered) for _ in poses]
    starts = [pose for poses in offered for pose in poses]
    start = Frames(
        torch.stack([pose.rotation for pose in starts]),
        torch.stack([pose.shift for pose in starts]),
        torch.tensor([pose.is_mirrored for pose in starts]),
    )
    small = handed(prepare(volumes, JOINT_BOX, None)[owner], start.is_mirrored)
    ratio = small.shape[-1] / volumes.shape[-1]
    found = []
    for number, state in enumerate(prepare(states, JOINT_BOX, None)):
        progress(len(volumes) + number, steps)
        found.append(climb(small, state[None], start.rotation, start.shift * ratio))
    progress(steps, steps)
    parts = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
    rotation, shift, correlation = parts  # (P, M, 3, 3), (P, M, 3), (P, M)
    score, alike = correlation.max(dim=1)
    scores = score.tolist()
    best = [
        max((p for p, n in enumerate(owner) if n == m), key=lambda p: scores[p])
        for m in range(len(volumes))
    ]
    # From there on to the mean map, as the state itself is laid on it.
    turn, slide, _ = climb(
        small[best],
        prepare(mean[None], JOINT_BOX, None),
        rotation[best, alike[best]],
        shift[best, alike[best]],
    )
    return OwnFrames(
        volumes,
        Frames(turn, slide / ratio, start.is_mirrored[best]),
        rotation[best],
        shift[best] / ratio,
        alike[best],
    )


def lay_each(volumes: Tensor, references: Tensor) -> Tensor:
    """Lay each volume on its reference by local refinement, without search.

    Args:
        volumes: (N, D, D, D) densities, roughly aligned.
        references: (1 or N, D, D, D) densities that stay.

    Returns:
        (N, D, D, D) moved densities.
    """
    count, box = len(volumes), volumes.shape[-1]
    small = prepare(torch.cat((volumes, references)), JOINT_BOX, None)
    turn, slide, _ = climb(small[:count], small[count:])
    return move(volumes, turn, slide * (box / small.shape[-1]))


def climb(
    volumes: Tensor,
    references: Tensor,
    rotation: Tensor | None = None,
    shift: Tensor | None = None,
    finer: int = FINER,
) -> tuple[Tensor, Tensor, Tensor]:
    """Refine volumes on references locally, in blocks that fit the cache.

    Args:
        volumes: (N, D, D, D) densities as of `prepare`.
        references: (1 or N, D, D, D) densities as of `prepare`.
        rotation: (N, 3, 3) starts; no rotation when missing.
        shift: (N, 3) starts in voxels; none when missing.
        finer: Upsampling for the interpolation.

    Returns:
        Rotations (N, 3, 3), shifts (N, 3) and correlations (N,).
    """
    count = len(volumes)
    if rotation is None:
        rotation = torch.eye(3).to(volumes).expand(count, 3, 3)
    if shift is None:
        shift = torch.zeros(count, 3).to(volumes)
    found = []
    for first in range(0, count, AT_ONCE):
        some = slice(first, first + AT_ONCE)
        reference = references if len(references) == 1 else references[some]
        found.append(
            refine(volumes[some], reference, rotation[some], shift[some], finer=finer)
        )
    turns, slides, correlations = zip(*found, strict=True)
    return torch.cat(turns), torch.cat(slides), torch.cat(correlations)


def handed(volumes: Tensor, is_mirrored: Tensor) -> Tensor:
    """Mirror those of (N, D, D, D) volumes that are told to be, (N,)."""
    where = is_mirrored.to(volumes.device)[:, None, None, None]
    return torch.where(where, mirror(volumes), volumes)
