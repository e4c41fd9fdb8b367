"""Algorithm 2: training, its checkpoints and its snapshots."""

from multicryogan.training.run import train
from multicryogan.training.stage import Stage, open_stage
from multicryogan.training.state import (
    load_checkpoint,
    load_snapshot,
    save_checkpoint,
)
from multicryogan.training.trainer import Preview, Trainer, TrainingError

__all__ = [
    "Preview",
    "Stage",
    "Trainer",
    "TrainingError",
    "load_checkpoint",
    "load_snapshot",
    "open_stage",
    "save_checkpoint",
    "train",
]
