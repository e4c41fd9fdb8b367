"""One tiny data set for the tests of training."""

from collections.abc import Iterator

import pytest
import torch

from multicryogan.io import ParticleStack
from training_data import tiny_stack


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Compute tiny tensors on one thread, where they are quickest."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ParticleStack:
    """96 particles of 32 pixels."""
    return tiny_stack(tmp_path_factory.mktemp("tiny"))
