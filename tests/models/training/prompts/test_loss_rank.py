import pytest
import torch

from models.core.outputs import ModelOutputs
from models.training.prompts.loss_rank import PromptViews


def test_every_prompt_is_read_so_many_times_in_orders_of_their_own():
    outputs = ModelOutputs(torch.randn(7, 3), features=torch.arange(7.0)[:, None], mask=torch.ones(7, 3).bool())
    labels = torch.arange(7) % 3
    views = PromptViews(outputs, labels, times=3, seed=1)
    assert views.total == 21
    rows = views.read(0, 21)
    passes = rows.images.view(3, 7)
    assert passes.sort(dim=1).values.tolist() == [list(range(7))] * 3
    assert len({tuple(order) for order in passes.tolist()}) == 3
    assert torch.equal(rows.features[:, 0], rows.images.float())
    expected = torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="none")
    torch.testing.assert_close(rows.losses, expected[rows.images])
    assert torch.equal(views.read(5, 9).images, rows.images[5:9])
    with pytest.raises(ValueError, match="there are 21"):
        views.read(20, 22)
