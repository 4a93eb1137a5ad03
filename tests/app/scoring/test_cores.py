"""Who may use how many cores of the CPU."""

import pytest

from app.scoring.cores import Cores

pytestmark = pytest.mark.anyio


async def test_a_batch_has_all_cores_only_while_nothing_else_is_in_any_of_the_batchers(start_batcher):
    cores = Cores(8)
    images, prompts = start_batcher(lambda works: works), start_batcher(lambda works: works)
    cores.share(images)
    cores.share(prompts)
    with images.reserve(3):
        assert cores.for_batch(3) == 8
        assert cores.for_batch(2) == 1
        with prompts.reserve(1):
            assert cores.for_batch(3) == 1
    assert cores.for_batch(1) == 8
