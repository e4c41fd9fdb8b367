"""Configuration: typed, complete, and the only place a default lives.

The string below a field is its help line; the command line shows it.
"""

from multicryogan.config.run import (
    PAPER_MODE,
    DataConfig,
    GeneratorConfig,
    ImagingConfig,
    LatentConfig,
    RefineConfig,
    RunConfig,
    run_config,
)
from multicryogan.config.simulation import (
    DomainConfig,
    GroupConfig,
    LawConfig,
    MoleculeConfig,
    MotionConfig,
    OpticsConfig,
    SimulationConfig,
)

__all__ = [
    "PAPER_MODE",
    "DataConfig",
    "DomainConfig",
    "GeneratorConfig",
    "GroupConfig",
    "ImagingConfig",
    "LatentConfig",
    "LawConfig",
    "MoleculeConfig",
    "MotionConfig",
    "OpticsConfig",
    "RefineConfig",
    "RunConfig",
    "SimulationConfig",
    "run_config",
]
