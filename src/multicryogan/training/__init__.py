"""Algorithm 2: training, its checkpoints and its snapshots."""

from multicryogan.training.forecast import Forecast, forecast
from multicryogan.training.monitor import METRICS, QUALITY
from multicryogan.training.run import train
from multicryogan.training.stage import Stage, open_stage
from multicryogan.training.state import (
    SNAPSHOT,
    load_checkpoint,
    load_snapshot,
    load_views,
    save_checkpoint,
)
from multicryogan.training.trainer import Preview, Trainer, TrainingError

__all__ = [
    "METRICS",
    "QUALITY",
    "SNAPSHOT",
    "Forecast",
    "Preview",
    "Stage",
    "Trainer",
    "TrainingError",
    "forecast",
    "load_checkpoint",
    "load_snapshot",
    "load_views",
    "open_stage",
    "save_checkpoint",
    "train",
]
