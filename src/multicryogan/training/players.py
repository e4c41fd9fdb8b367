"""Generator and discriminator with their optimisers and the generator's average."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from multicryogan.config import RunConfig
from multicryogan.networks import Discriminator, Generator


class Players:
    """Both players of a stage, ready to be trained, saved and restored."""

    def __init__(
        self,
        config: RunConfig,
        generator: Generator,
        averaged: Generator,
        discriminator: Discriminator,
        device: str,
    ) -> None:
        """Seat a generator, its average so far, and a discriminator."""
        train = config.train
        self.generator = generator.to(device)
        self.average = AveragedModel(
            averaged.to(device),
            multi_avg_fn=get_ema_multi_avg_fn(  # type: ignore[no-untyped-call]
                train.average_decay
            ),
        )
        # A copy of the average goes on; it does not start anew at the next update.
        self.average.n_averaged.fill_(1)
        self.discriminator = discriminator.to(device)
        betas = (train.beta1, train.beta2)
        voxels = generator.voxels()
        held = {id(voxel) for voxel in voxels}
        weights = [p for p in generator.parameters() if id(p) not in held]
        groups: list[dict[str, Any]] = [
            {"params": voxels, "lr": train.generator_rate},
            {"params": weights, "lr": train.network_rate},
        ]
        self.generator_optimizer = Adam([g for g in groups if g["params"]], betas=betas)
        self.discriminator_optimizer = Adam(
            self.discriminator.parameters(), train.discriminator_rate, betas
        )
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["start_rate"] = group["lr"]

    @property
    def averaged(self) -> Generator:
        """The generator that snapshots and previews use."""
        module = self.average.module
        assert isinstance(module, Generator)
        return module

    def set_rates(self, factor: float) -> None:
        """Scale all learning rates."""
        optimizers: tuple[Optimizer, ...] = (
            self.generator_optimizer,
            self.discriminator_optimizer,
        )
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["start_rate"]

    def open_motion(self, degrees: int) -> None:
        """Let so many degrees of the motion act."""
        self.generator.open_motion(degrees)
        self.averaged.open_motion(degrees)

    def open_band(self, shell: float) -> None:
        """Make and look at frequencies up to a shell."""
        self.generator.open_band(shell)
        self.averaged.open_band(shell)
        self.discriminator.open_band(shell)

    def state(self) -> dict[str, Any]:
        """Return everything as tensors and plain values."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Set everything from what `state` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def culprit(self) -> str | None:
        """Name the first tensor that is not finite, if any."""
        for player, module in (
            ("generator", self.generator),
            ("discriminator", self.discriminator),
        ):
            for name, parameter in module.named_parameters():
                if not _is_finite(parameter):
                    return f"{player} {name}"
                if parameter.grad is not None and not _is_finite(parameter.grad):
                    return f"gradient of {player} {name}"
        return None

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "average": self.average,
            "discriminator": self.discriminator,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
