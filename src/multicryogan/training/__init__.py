"""Algorithm 2: training, its checkpoints and its snapshots."""

from multicryogan.training.run import train
from multicryogan.training.stage import open_stage
from multicryogan.training.state import load_snapshot
from multicryogan.training.trainer import Preview, Trainer, TrainingError

__all__ = [
    "Preview",
    "Trainer",
    "TrainingError",
    "load_snapshot",
    "open_stage",
    "train",
]
