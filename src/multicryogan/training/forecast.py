"""How fast a run would be on this machine: some of its updates, timed."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass

import torch

from multicryogan.config import RunConfig
from multicryogan.io import ParticleStack
from multicryogan.rng import Shard
from multicryogan.training.schedule import Schedule
from multicryogan.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Pace:
    """Updates of one stage."""

    box: int
    share: float  # of the run's time
    seconds_per_update: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do here.

    Attributes:
        stages: In the order of the run.
        device: Where they were timed.
        batch: Simulated images of one update.
        peak_bytes: Most memory that this process has held so far; on a CUDA device,
            most of the device's.
    """

    stages: tuple[Pace, ...]
    device: str
    batch: int
    peak_bytes: int

    def images(self, minutes: float) -> int:
        """Simulated images of the generator updates of so many minutes."""
        seconds = 60 * minutes
        updates = (seconds * s.share / s.seconds_per_update for s in self.stages)
        return round(self.batch * sum(updates))


def forecast(
    config: RunConfig, stack: ParticleStack, sign: int, device: str, seconds: float
) -> Forecast:
    """Time updates as they are due in the middle of each stage.

    Nothing is written. Each stage does two updates at least.

    Args:
        config: Of the run to come.
        stack: Some of its particles; their spectra are measured, as a run does.
        sign: +1 when protein is bright, -1 when it is dark.
        device: "cpu" or a CUDA device.
        seconds: To spend on updates, shared by the stages.

    Returns:
        The pace of each stage, and the memory that it took.
    """
    train = dataclasses.replace(config.train, discriminator_warmup=0)
    trial = dataclasses.replace(config, train=train)
    trainer = Trainer(trial, stack, sign, None, shard=Shard(), device=device)
    schedule = Schedule(config)
    boxes = schedule.boxes
    ends = (train.coarse_share, 1.0) if len(boxes) > 1 else (1.0,)
    stages, begin = [], 0.0
    for box, end in zip(boxes, ends, strict=True):
        middle = (begin + end) / 2
        taken = _time_updates(trainer, middle, seconds / len(boxes))
        stages.append(Pace(box, end - begin, taken))
        begin = end
    return Forecast(
        tuple(stages),
        device,
        train.volumes_per_batch * train.poses_per_volume,
        _peak_bytes(device),
    )


def _time_updates(trainer: Trainer, progress: float, seconds: float) -> float:
    """Median seconds of an update; the first, which sets things up, does not count."""
    trainer.advance(progress)
    taken: list[float] = []
    while not taken or sum(taken) + taken[-1] < seconds:
        start = time.monotonic()
        trainer.advance(progress)  # gives its scalars: a CUDA device has finished
        taken.append(time.monotonic() - start)
    return statistics.median(taken)


def _peak_bytes(device: str) -> int:
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
