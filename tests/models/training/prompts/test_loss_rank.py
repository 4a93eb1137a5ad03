import pytest
import torch

from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.training.head_plan import HeadPlan
from models.training.prompts.loss_rank import PromptViews, train_on_prompts


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


def test_prompts_that_are_held_out_are_judged_by_and_not_trained_on():
    generator = torch.Generator().manual_seed(0)
    features, logits = torch.randn(60, 4, generator=generator), torch.randn(60, 3, generator=generator)
    outputs, labels, held = ModelOutputs(logits, features=features), torch.arange(60) % 3, list(range(20))
    others = torch.where(torch.arange(60) < 20, (labels + 1) % 3, labels)
    plan, sizes = HeadPlan(width=8, depth=1, batch=32, passes=2, checks=3, seed=1), Dimensions(3, 4)
    one, other = (
        train_on_prompts(outputs, each, held, 4, sizes, plan, None, lambda *_: None) for each in (labels, others)
    )
    assert [point.step for point in one.curve] == [6, 11, 16]
    assert [point.loss for point in one.curve] == [point.loss for point in other.curve]
    assert [point.spearman for point in one.curve] != [point.spearman for point in other.curve]
