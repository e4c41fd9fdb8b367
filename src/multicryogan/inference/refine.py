"""Refine a run from start to end: starts, iterations, checkpoints, results."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multicryogan.config import RefineConfig, RunConfig
from multicryogan.errors import InputError
from multicryogan.evaluation import HalfSetFSC, half_set_fsc, solvent_mask
from multicryogan.inference.assignment import latent_grid
from multicryogan.inference.identity import describe_work
from multicryogan.inference.masks import given_masks, sphere
from multicryogan.inference.refined import Refined, write_refined
from multicryogan.inference.refinement import (
    FINE_ITERATIONS,
    Refinement,
    State,
)
from multicryogan.inference.starts import begin
from multicryogan.io import ParticleStack, half_sets
from multicryogan.likelihood.manifold import Manifold, all_pairs
from multicryogan.likelihood.poses import PoseTree
from multicryogan.networks import Generator
from multicryogan.priors import ViewLaw
from multicryogan.progress import Report, ignore
from multicryogan.rng import Shard
from multicryogan.rotations import point_group
from multicryogan.training import Stage, load_checkpoint, open_stage, save_checkpoint
from multicryogan.training.build import build_symmetry

LEAST = 4  # particles in a half: of fewer, nothing has a spread


def refine_run(
    generator: Generator,
    config: RunConfig,
    settings: RefineConfig,
    stack: ParticleStack,
    sign: int,
    output: Path,
    *,
    device: str = "cpu",
    report: Report = ignore,
    say: Callable[[State], None] | None = None,
) -> Refined:
    """Refine what a generator has found, and write it to a folder.

    A folder that holds checkpoints of the same settings is gone on with: at most one
    iteration is lost to a kill. What an iteration has found is written as the next
    one begins.

    Args:
        generator: A trained generator.
        config: Its resolved config.
        settings: Of the refinement.
        stack: Particles that pass `check_particles`.
        sign: +1 when protein is bright, -1 when it is dark.
        output: Folder that exists.
        device: "cpu" or a CUDA device.
        report: Called with what is being done, images done and images in all.
        say: Called after each iteration.

    Raises:
        InputError: The folder holds a refinement of other settings or particles.
    """
    stage = open_stage(config, stack, sign, generator.box, Shard(), device)
    work = open_work(stage, generator, config, settings)
    made_for = describe_work(generator, work, stack)
    found = _read_checkpoint(output, made_for, work.tree, device)
    if found is None:
        latents = latent_grid(config, settings.conformations)
        excess = stage.spectra.excess
        found = begin(work, generator, latents, excess, report)
        _write_checkpoint(output, found, made_for)
    state, start, scores = found

    def write(*, is_done: bool) -> Refined:
        refined = summed_up(work, state, start, scores)
        write_refined(
            refined, config, settings, stage.pixel_size, output, is_done=is_done
        )
        return refined

    while not is_finished(state, work):
        if state.iteration:
            write(is_done=False)
        state = work.step(state, report)
        _write_checkpoint(output, (state, start, scores), made_for)
        if say is not None:
            say(state)
    return write(is_done=True)


def check_halves(stack: ParticleStack, seed: int) -> None:
    """Refuse particles that cannot be refined in two halves.

    Raises:
        InputError: A half is too small.
    """
    second = int(half_sets(stack, seed).sum())
    halves = len(stack) - second, second
    if min(halves) < LEAST:
        raise InputError(
            f"{stack.path}: its halves hold {halves[0]} and {halves[1]} particles, "
            f"refine needs {LEAST} in each; give more, or halves of one size"
        )


def summed_up(
    work: Refinement, state: State, start: str, scores: dict[str, Any]
) -> Refined:
    """Tell what a state of refinement, after an iteration or more, has found."""
    half_maps = half_volumes(state)
    curves = half_curves(state.manifold, half_maps, work.pixel_size)
    last_shell = int(state.history[-1]["shell"])
    level = state.tree.levels(last_shell) + 1
    pose_nats = math.log(state.tree.count(level)) + state.tree.shifts.nats(level)
    # Which of the symmetric poses, nothing can tell.
    group = work.symmetry.of_all(len(state.maxima[0]) - 1)
    pose_nats -= math.log(len(point_group(group)))
    return Refined(
        state,
        half_maps,
        start,
        scores,
        curves,
        last_shell,
        work.config.start_shell,
        pose_nats,
    )


def open_work(
    stage: Stage, generator: Generator, config: RunConfig, settings: RefineConfig
) -> Refinement:
    """Divide the particles of a stage into halves, and set search and masks up."""
    stack, box = stage.sampler.stack, stage.sampler.preprocessing.box
    symmetry = build_symmetry(config)
    solvent, focus = given_masks(settings, generator, symmetry, box, stage.pixel_size)
    device = stage.spectra.rim.device
    return Refinement(
        stage.sampler,
        stage.spectra.rim,
        stage.pixel_size,
        split_rows(stack, stage.sampler.held_out(), config.train.seed),
        settings,
        stage.poses(config.imaging.shift_sigma_angstrom),
        symmetry,
        None if solvent is None else solvent.to(device),
        None if focus is None else focus.to(device),
        config.imaging.contrast_spread,
    )


def split_rows(
    stack: ParticleStack, held_out: Tensor, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide the rows of particles into two halves and those that are held out."""
    half = torch.from_numpy(half_sets(stack, seed).astype("int64"))
    half[held_out] = 2
    first, second = ((half == number).nonzero()[:, 0] for number in (0, 1))
    return first, second, held_out


def is_finished(state: State, work: Refinement) -> bool:
    """Whether all shells are in and held-out images gain no more, or time is up."""
    if state.iteration >= work.config.iterations:
        return True
    fine = sum(record["fine"] for record in state.history)
    return fine >= FINE_ITERATIONS and work.is_settled(state)


def describe(state: State) -> str:
    """Say in a line how the last iteration went."""
    last = state.history[-1]
    agreement = last["agreement"][0]
    reach = next((s for s in range(1, len(agreement)) if agreement[s] < 0.5), None)
    reach = len(agreement) if reach is None else reach
    held = "" if last["held_out"] is None else f", held out {last['held_out']:.2f}"
    mean = sum(last["log_likelihood"]) / 2
    poses = ", fine poses" if last["fine"] else ""
    return (
        f"iteration {last['iteration']}: shells to {last['shell']}{poses}, halves "
        f"agree to shell {reach - 1}; log-likelihood {mean:.2f} nats an image{held}; "
        f"{last['seconds']:.0f} s"
    )


def half_curves(
    manifold: Manifold, half_maps: Tensor, voxel_size: float
) -> tuple[HalfSetFSC, ...]:
    """Correlate the halves' maps, (2, V, D, D, D), in a mask of their mean."""
    manifold = manifold.to("cpu")
    mean = (manifold.weights @ manifold.coefficients) @ manifold.basis.flatten(1)
    try:
        mask = solvent_mask(mean.view_as(manifold.basis[0]), voxel_size)
    except InputError:  # nothing stands out yet: the sphere that maps are kept in
        mask = sphere(mean.new_zeros(manifold.basis.shape[1:]))
    return tuple(
        half_set_fsc(first, second, mask, voxel_size, seed=0)
        for first, second in zip(*half_maps, strict=True)
    )


def half_volumes(state: State) -> Tensor:
    """(2, V, D, D, D) unfiltered volumes of both halves, on the CPU."""
    coefficients = state.halves[0].coefficients.cpu()
    flat = torch.einsum("vc,hcn->hvn", coefficients, state.maxima.cpu().flatten(2))
    return flat.view(2, -1, *state.maxima.shape[2:])


def _write_checkpoint(
    output: Path, found: tuple[State, str, dict[str, Any]], made_for: dict[str, Any]
) -> None:
    state, start, scores = found
    first = state.halves[0]
    facts = {
        "made_for": made_for,
        "start": start,
        "scores": scores,
        "history": list(state.history),
        "shift_sigma_px": state.tree.shifts.sigma_px,
        "contrast_spread": first.contrast_spread,
    }
    tensors = {
        "latents": first.latents,
        "weights": first.weights,
        "coefficients": first.coefficients,
        "basis": torch.stack([half.basis for half in state.halves]),
        "maxima": state.maxima,
        "solvent": state.solvent,
        "views": first.views.weights,
    }
    save_checkpoint(
        output,
        {
            "step": state.iteration,
            "shell": state.shell,
            "facts": json.dumps(facts),
            **tensors,
        },
    )


def _read_checkpoint(
    output: Path, made_for: dict[str, Any], tree: PoseTree, device: str
) -> tuple[State, str, dict[str, Any]] | None:
    """Read the newest whole checkpoint; None if there is none."""
    stored = load_checkpoint(output, device)
    if stored is None:
        return None
    facts = _facts_of(stored)
    if facts.get("made_for") != json.loads(json.dumps(made_for)):
        raise InputError(
            f"{output} holds work of another run, other settings or particles; give "
            "another -o, or those that it was begun with"
        )
    try:
        return _restored(stored, facts, tree, device), facts["start"], facts["scores"]
    except KeyError as error:
        raise InputError(
            f"the checkpoint of {output} lacks {error}: another version of "
            "multicryogan wrote it; give another -o"
        ) from None


def _facts_of(stored: dict[str, Any]) -> dict[str, Any]:
    """Facts that a checkpoint of refinement holds; none of any other."""
    try:
        facts = json.loads(stored["facts"])
    except (KeyError, TypeError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _restored(
    stored: dict[str, Any], facts: dict[str, Any], tree: PoseTree, device: str
) -> State:
    """Build the state that a checkpoint holds."""
    first, second = (
        Manifold(
            stored["latents"],
            stored["weights"],
            stored["coefficients"],
            basis,
            all_pairs(stored["basis"].shape[1]).to(device),
            ViewLaw(stored["views"]),
            facts["contrast_spread"],
        )
        for basis in stored["basis"]
    )
    shifts = dataclasses.replace(tree.shifts, sigma_px=facts["shift_sigma_px"])
    return State(
        iteration=stored["step"],
        shell=stored["shell"],
        halves=(first, second),
        maxima=stored["maxima"],
        solvent=stored["solvent"],
        tree=dataclasses.replace(tree, shifts=shifts),
        history=tuple(facts["history"]),
    )
