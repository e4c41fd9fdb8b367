"""Algorithm 2: the adversarial game, stage by stage."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RunConfig
from multicryogan.data.view import Views
from multicryogan.errors import InputError
from multicryogan.io import ParticleStack
from multicryogan.likelihood import Score
from multicryogan.networks import Generator
from multicryogan.priors import VIEW_STEPS, LatentPrior
from multicryogan.rng import Shard, stream
from multicryogan.training.build import build_discriminator, build_generator
from multicryogan.training.distributed import average, from_first
from multicryogan.training.laws import EARLIEST, EVERY, Laws, counts_from, find, learn
from multicryogan.training.monitor import Monitor
from multicryogan.training.opponent import make_opponent
from multicryogan.training.players import Players
from multicryogan.training.quality import held_out_score
from multicryogan.training.schedule import Schedule
from multicryogan.training.stage import Stage, open_stage, starting_scale
from multicryogan.training.state import load_checkpoint, save_checkpoint, save_snapshot
from multicryogan.training.steps import (
    discriminator_step,
    generator_step,
    motion_size,
)
from multicryogan.training.warm import known_start

PREVIEW_VOLUMES = 3
REMEDY = "earlier checkpoints are untouched, lower the learning rates and start again"
KEYS = ("images_seen", "seconds", "stage", "laws")  # of a checkpoint, among others
PREVIEW_BATCH = (4, 2)  # volumes and poses of the simulated images shown


class TrainingError(RuntimeError):
    """The game broke down: a tensor is not finite."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview picture shows."""

    real: Tensor  # (B, D, D) as the discriminator sees them
    fake: Tensor  # (B, D, D)
    volumes: Tensor  # (V, D, D, D) of the averaged generator along the latent
    voxel_size: float
    step: int


class Trainer:
    """Play the game until the images or the time are used up."""

    stage: Stage

    def __init__(
        self,
        config: RunConfig,
        stack: ParticleStack,
        sign: int,
        run: Path | None,
        *,
        shard: Shard,
        device: str,
        on_preview: Callable[[Preview, Path], None] | None = None,
    ) -> None:
        """Set up the first stage, or the one of the newest checkpoint.

        Without a run folder nothing is read back, written or shown.
        """
        self.config, self.stack, self.sign, self.run = config, stack, sign, run
        self.shard, self.device, self.on_preview = shard, device, on_preview
        self.schedule = Schedule(config)
        self.step, self.images_seen, self.seconds = 0, 0, 0.0
        self.is_stopping = False
        self.laws = Laws.begun(config, stack)
        self.prior = LatentPrior(config.latent.kind, config.latent.dimensions)
        state = None if run is None else load_checkpoint(run, device, KEYS)
        if state is None:
            self._start()
        else:
            self._resume(state)
        self.monitor: Monitor | None = None
        if run is not None and shard.rank == 0:
            self.monitor = Monitor(run, self.step, has_events=config.output.tensorboard)

    @property
    def progress(self) -> float:
        """Share of the run that is done, the same on every process."""
        train = self.config.train
        share = 0.0
        if train.images > 0:
            share = self.images_seen / train.images
        if train.time_limit > 0:
            elapsed = from_first(self.seconds, self.device)
            share = max(share, elapsed / (60 * train.time_limit))
        return min(share, 1.0)

    def train(self) -> bool:
        """Run Algorithm 2; return whether it came to its end."""
        with self.monitor or nullcontext():
            return self._train()

    def _train(self) -> bool:
        output = self.config.output
        saved = previewed = self.seconds
        while (progress := self.progress) < 1 and not self._must_stop():
            start = time.monotonic()
            metrics = self.advance(progress)
            self.seconds += time.monotonic() - start
            self._tell(progress, metrics)
            if self.seconds - saved > 60 * output.checkpoint_minutes:
                self.save()
                saved = self.seconds
            if self.seconds - previewed > 60 * output.preview_minutes:
                self.preview(progress)
                previewed = self.seconds
        self.save()
        self.preview(progress)
        self._must_stop()  # wait: all leave together, once the files are there
        return progress >= 1

    def advance(self, progress: float) -> dict[str, float]:
        """Do one update as it is due at a progress; return its scalars by name."""
        if self.schedule.stage(progress) > self.stage_index:
            self._next_stage()
        self._learn_laws(progress)
        self._follow_schedule(progress)
        return self._update(self.schedule.shell(progress))

    def save(self) -> None:
        """Write checkpoint and snapshot; the first process alone does."""
        if self.shard.rank != 0 or self.run is None:
            return
        if culprit := self.players.culprit():
            raise TrainingError(
                f"{culprit} is not finite at step {self.step}: nothing was saved; "
                f"{REMEDY}"
            )
        state = {
            "step": self.step,
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "stage": self.stage_index,
            "laws": dataclasses.asdict(self.laws),
            **self.players.state(),
        }
        save_checkpoint(self.run, state)
        prior = self.stage.simulator.imaging_prior
        imaging = dataclasses.replace(
            self.config.imaging,
            shift_sigma_angstrom=prior.shift_sigma_angstrom,
            contrast_spread=prior.contrast_spread,
        )
        save_snapshot(
            self.run,
            self.players.averaged,
            dataclasses.replace(self.config, imaging=imaging),
            self.stage.pixel_size,
            prior.views,
        )

    def preview(self, progress: float) -> None:
        """Show real and simulated images and a few volumes; the first process does."""
        if self.on_preview is None or self.shard.rank != 0 or self.run is None:
            return
        shell = self.schedule.shell(progress)
        generator = self.players.averaged
        # The first process alone draws here: a shard of a preview would be no preview.
        alone = self.stage.alone()
        with torch.no_grad():
            _, fake = alone.simulate(
                generator, shell, self.step, "preview", PREVIEW_BATCH
            )
            count = math.prod(PREVIEW_BATCH)
            drawn = alone.sampler.batch(count, self.step, "preview")
            real = alone.show(*drawn, "preview/real", self.step)
            along = self.prior.path(PREVIEW_VOLUMES).to(self.device)
            shown = Preview(
                real.images,
                fake.images,
                generator(along),
                alone.pixel_size,
                self.step,
            )
        folder = self.run / "previews"
        path = folder / f"step_{self.step:08d}.png"
        try:
            folder.mkdir(exist_ok=True)
            self.on_preview(shown, path)
        except OSError as error:
            raise InputError(
                f"cannot write {path}: {error.strerror}; make room and give the same "
                "command to go on"
            ) from None

    def _update(self, shell: float) -> dict[str, float]:
        """Do k discriminator updates, then one of the generator."""
        train, players = self.config.train, self.players
        scalars: dict[str, Tensor] = {}
        for k in range(train.discriminator_steps):
            draw = self.step * train.discriminator_steps + k
            is_last = k == train.discriminator_steps - 1
            with torch.set_grad_enabled(is_last):
                made, fake = self.stage.simulate(players.generator, shell, draw)
            real = self.stage.real(draw)
            scalars |= self._update_discriminator(real, fake.detached(), draw)
        metrics = self._checked(scalars)  # before the generator listens to it
        scalars = generator_step(
            players.discriminator,
            players.generator,
            players.generator_optimizer,
            real,
            fake,
        )
        players.average.update_parameters(players.generator)
        self.step += 1
        self.images_seen += train.volumes_per_batch * train.poses_per_volume
        scalars["motion"] = motion_size(made.volume.detach())
        return metrics | self._checked(scalars)

    def _update_discriminator(
        self, real: Views, fake: Views, draw: int
    ) -> dict[str, Tensor]:
        """Do one discriminator update."""
        train = self.config.train
        count = train.volumes_per_batch * train.poses_per_volume
        mix = torch.rand(count, generator=stream(train.seed, "mix", step=draw))
        return discriminator_step(
            self.players.discriminator,
            self.players.discriminator_optimizer,
            real,
            fake,
            train.penalty_weight,
            mix[self.shard.share(count)].to(self.device),
        )

    def _follow_schedule(self, progress: float) -> None:
        """Set learning rates and open the motion when they are due."""
        self.players.set_rates(self.schedule.rate_factor(progress))
        self.players.open_motion(self.schedule.degrees(progress))
        self.players.open_band(self.schedule.shell(progress))

    def _start(self) -> None:
        """Begin a run: a rough ball, or a map, as strong as the signal."""
        self._open_stage(0)
        generator = self._first_generator().to(self.device)
        generator.scale.fill_(starting_scale(self.stage, generator))
        opponent = make_opponent(self.config, self.stage)
        self.players = Players(self.config, generator, generator, opponent, self.device)
        self._warm_up()

    def _first_generator(self) -> Generator:
        """Make the generator of a new run, from the map that is given, if any."""
        box = self.stage.box
        if not self.config.generator.start_map:
            return build_generator(self.config, box)
        known = known_start(self.config.generator, box, box * self.stage.pixel_size)
        return build_generator(self.config, box, *known)

    def _next_stage(self) -> None:
        """Go on at a finer box with both players as they are."""
        self._open_stage(self.stage_index + 1)
        box, old = self.stage.box, self.players
        self.players = Players(
            self.config,
            old.generator.resized(box),
            old.averaged.resized(box),
            make_opponent(self.config, self.stage, old.discriminator),
            self.device,
        )
        self._warm_up()

    def _resume(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self.laws = Laws.restored(state["laws"])
        self._open_stage(state["stage"])
        generator = build_generator(self.config, self.stage.box)
        opponent = build_discriminator(self.config, self.stage.box, self.device)
        self.players = Players(self.config, generator, generator, opponent, self.device)
        try:
            self.players.restore(state)
        except (RuntimeError, KeyError, ValueError):
            raise InputError(
                f"the checkpoint of {self.run} has other tensors than its config asks "
                "for: another version of multicryogan wrote it; start anew with "
                "another -o"
            ) from None
        self.step, self.images_seen = state["step"], state["images_seen"]
        self.seconds = state["seconds"]

    def _learn_laws(self, progress: float) -> None:
        """Find views, shifts, contrasts; then count, where due and poses are plain."""
        imaging = self.config.imaging
        is_fixed = (
            imaging.views == "uniform"
            and imaging.shift_sigma_angstrom <= 0
            and imaging.contrast_spread <= 0
        )
        due = int(progress / EVERY)
        if is_fixed or progress < EARLIEST or due <= self.laws.times:
            return
        first = counts_from(self.config.data.box)
        if self.laws.images > 0 and self.schedule.shell(progress) < first:
            return
        step = find if self.laws.images == 0 else learn
        self.laws = step(
            self.laws,
            self.stage,
            self.players.averaged,
            self.prior.grid(VIEW_STEPS).to(self.device),
            self.config.train.seed,
            due,
        )
        self.stage = self._lawful(self.stage)

    def _lawful(self, stage: Stage) -> Stage:
        """Simulate by the laws that were learned."""
        laws = self.laws
        views = laws.views if self.config.imaging.views == "learned" else None
        return stage.under(laws.shift_sigma_angstrom, laws.contrast_spread, views)

    def _open_stage(self, index: int) -> None:
        self.stage_index = index
        stage = open_stage(
            self.config,
            self.stack,
            self.sign,
            self.schedule.boxes[index],
            self.shard,
            self.device,
        )
        self.stage = self._lawful(stage)

    def _warm_up(self) -> None:
        """Train the discriminator of a new stage before the generator listens to it."""
        progress = self.progress
        self._follow_schedule(progress)
        shell = self.schedule.shell(progress)
        for draw in range(self.config.train.discriminator_warmup):
            purpose = f"warm-up/{self.stage_index}"
            with torch.no_grad():
                _, fake = self.stage.simulate(
                    self.players.generator, shell, draw, purpose
                )
            self._update_discriminator(self.stage.real(draw, purpose), fake, draw)

    def _checked(self, scalars: dict[str, Tensor]) -> dict[str, float]:
        """Average over the processes; a number that is not finite stops the run."""
        means = average(torch.stack([x.float() for x in scalars.values()])).tolist()
        metrics = dict(zip(scalars, means, strict=True))
        for name, value in metrics.items():
            if not math.isfinite(value):
                culprit = self.players.culprit() or "an image or an empty volume"
                raise TrainingError(
                    f"{name} is {value} at step {self.step}: first bad tensor is "
                    f"{culprit}; {REMEDY}"
                )
        return metrics

    def _tell(self, progress: float, metrics: dict[str, float]) -> None:
        """Log and show this update."""
        if self.monitor is None:
            return
        shell = min(self.schedule.shell(progress), self.stage.box / 2)
        facts = {
            "step": self.step,
            "images_seen": self.images_seen,
            "minutes": self.seconds / 60,
            "box": self.stage.box,
            "resolution": self.stage.box * self.stage.pixel_size / shell,
            **metrics,
        }
        if self.step % self.config.output.log_steps == 0:
            self.monitor.log(facts)
        self.monitor.judge(facts, self._held_out)
        self.monitor.show(progress, self.schedule.phase(progress), facts)

    def _held_out(self) -> Score | None:
        """Compare held-out images with the volumes of the moment."""
        latents = self.prior.grid(VIEW_STEPS).to(self.device)
        averaged = self.players.averaged
        return held_out_score(self.laws, self.stage.alone(), averaged, latents)

    def _must_stop(self) -> bool:
        """Whether any process was asked to stop; all agree."""
        asked = torch.tensor([float(self.is_stopping)], device=self.device)
        return bool(average(asked) > 0)
