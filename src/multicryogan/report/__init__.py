"""Pictures of runs and of scores."""

from multicryogan.report.plots import plot_fsc, plot_fsccc, plot_order, plot_preview

__all__ = ["plot_fsc", "plot_fsccc", "plot_order", "plot_preview"]
