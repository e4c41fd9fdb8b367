"""Pictures of runs and of scores."""

from multicryogan.report.plots import plot_fsc, plot_fsccc, plot_order, plot_preview
from multicryogan.report.sphere import plot_views

__all__ = ["plot_fsc", "plot_fsccc", "plot_order", "plot_preview", "plot_views"]
