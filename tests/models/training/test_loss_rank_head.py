"""Training a head: it learns, stops, resumes to equal weights, and refuses what it cannot train on."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from models.core.errors import DataError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.feature_cache.view_rows import ViewRows
from models.metrics.ranking import spearman
from models.training.head_plan import HeadPlan
from models.training.loss_rank_head import train_head
from models.uncertainty.loss_rank import LossRank, initial_state
from tests.fixtures.trained_head import HeldViews, made_views

WIDTH = 6
SIZES = Dimensions(classes=2, features=WIDTH)
PLAN = HeadPlan(width=16, batch=64, rate=0.02, passes=2, checks=6)
ROWS = made_views(1000, WIDTH)
JUDGED = made_views(300, WIDTH, seed=1)
HELD_OUT = (JUDGED.features, JUDGED.losses)


class Killed(Exception):
    """Stands for the end of the process."""


@dataclass
class Heard:
    """What `told` was called with; it ends the run after `limit` steps."""

    limit: int | None = None
    calls: list = field(default_factory=list)

    def __call__(self, done, steps, point):
        self.calls.append((done, steps, point))
        if done == self.limit:
            raise Killed


@dataclass
class Recorded:
    """Views that remember which of them were read."""

    views: HeldViews
    reads: list = field(default_factory=list)

    @property
    def total(self):
        return self.views.total

    def read(self, start, stop):
        self.reads.append((start, stop))
        return self.views.read(start, stop)


def train(plan=PLAN, rows=ROWS, held_out=HELD_OUT, folder=None, told=None, images=()):
    return train_head(HeldViews(rows), held_out, SIZES, plan, folder, told or Heard(), images)


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items()) and one.keys() == other.keys()


@pytest.mark.parametrize("loss", ["pairs", "all_pairs", "squared"])
def test_learns_to_rank_rows_that_it_has_not_seen(loss):
    found = train(replace(PLAN, loss=loss))
    values = found.head.score(ModelOutputs(torch.zeros(300, 2), features=JUDGED.features))
    assert spearman(values, JUDGED.losses) == pytest.approx(found.best.spearman, abs=1e-12)
    assert found.best.spearman > 0.85
    assert found.curve[-1].loss < found.curve[0].loss


def test_the_order_of_losses_alone_is_learnt_from_pairs():
    scaled = replace(ROWS, losses=100 * ROWS.losses)
    assert same(train().head.state(), train(rows=scaled).head.state())
    squared = replace(PLAN, loss="squared")
    assert not same(train(squared).head.state(), train(squared, rows=scaled).head.state())


def test_reads_batches_in_order_and_every_pass_alike():
    views = Recorded(HeldViews(ROWS))
    train_head(views, HELD_OUT, SIZES, replace(PLAN, patience=99), None, Heard())
    one_pass = [(start, min(start + 64, 1000)) for start in range(0, 1000, 64)]
    assert views.reads == one_pass * 2


def test_tells_every_step_and_the_checks():
    heard = Heard()
    found = train(replace(PLAN, patience=99), told=heard)
    assert [(done, steps) for done, steps, _ in heard.calls] == [(done, 32) for done in range(1, 33)]
    checks = [(done, point) for done, _, point in heard.calls if point is not None]
    assert [point for _, point in checks] == list(found.curve)
    assert [done for done, _ in checks] == [point.step for point in found.curve]
    assert len(checks) == 6


def test_the_best_weights_are_kept_and_an_early_stop_ends_the_run():
    turned = replace(ROWS, losses=torch.where(torch.arange(1000) < 400, ROWS.losses, -ROWS.losses))
    heard = Heard()
    plan = replace(PLAN, passes=1, checks=16, patience=3, rate=0.02)
    found = train(plan, rows=turned, told=heard)
    assert heard.calls[-1][0] < 16
    assert len(found.curve) == found.curve.index(found.best) + 1 + 3
    values = found.head.score(ModelOutputs(torch.zeros(300, 2), features=JUDGED.features))
    assert spearman(values, JUDGED.losses) == pytest.approx(found.best.spearman, abs=1e-12)


@pytest.mark.parametrize("limit", [1, 8, 11, 19, 31])
def test_a_killed_run_goes_on_to_equal_weights(limit, tmp_path):
    plan = replace(PLAN, patience=99)
    whole = train(plan)
    with pytest.raises(Killed):
        train(plan, folder=tmp_path, told=Heard(limit))
    heard = Heard()
    found = train(plan, folder=tmp_path, told=heard)
    assert same(found.head.state(), whole.head.state())
    assert found.curve == whole.curve
    saved = max((point.step for point in whole.curve if point.step <= limit), default=0)
    assert heard.calls[0][0] == saved + 1


def test_a_run_that_was_done_is_not_done_again(tmp_path):
    first = train(folder=tmp_path)
    heard = Heard()
    again = train(folder=tmp_path, told=heard)
    assert heard.calls == []
    assert same(again.head.state(), first.head.state())
    assert (again.curve, again.best) == (first.curve, first.best)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"plan": replace(PLAN, seed=1)}, "plan"),
        ({"rows": made_views(900, WIDTH)}, "views"),
        ({"held_out": (JUDGED.features, 2 * JUDGED.losses)}, "held_out_losses"),
        ({"images": [3]}, "held_out_images"),
    ],
)
def test_another_training_in_the_folder_is_refused(given, told, tmp_path):
    train(folder=tmp_path)
    with pytest.raises(DataError, match=f"with other {told}: give an empty folder"):
        train(folder=tmp_path, **given)


@pytest.mark.parametrize("held", [[0], [0, 7, 39]])
def test_views_of_held_out_images_teach_nothing(held):
    left = ~torch.isin(ROWS.images, torch.tensor(held))
    spoilt = replace(ROWS, features=torch.where(left[:, None], ROWS.features, torch.nan))
    assert same(train(images=held).head.state(), train(rows=spoilt, images=held).head.state())
    assert not same(train(images=held).head.state(), train().head.state())


def test_a_batch_of_which_nothing_is_left_is_passed_over():
    images = torch.where(torch.arange(1000) < 192, 50, ROWS.images)
    found = train(rows=replace(ROWS, images=images), images=[50])
    assert found.best.spearman > 0.85


@pytest.mark.parametrize("images", [range(40), range(100)])
def test_views_of_which_nothing_is_left_are_refused(images):
    with pytest.raises(DataError, match="no view is left"):
        train(images=images)


def test_no_views_are_refused():
    none = ViewRows(*(getattr(ROWS, part)[:0] for part in ("features", "losses", "labels", "images")))
    with pytest.raises(DataError, match="no views"):
        train(rows=none)


def test_a_constant_head_is_reported_and_not_crashed_on():
    held_out = (torch.zeros(300, WIDTH), JUDGED.losses)
    found = train(held_out=held_out)
    assert found.best is None
    assert [point.spearman for point in found.curve] == [None] * PLAN.patience
    assert bool(found.head.score(ModelOutputs(torch.zeros(1, 2), features=JUDGED.features[:1])).isfinite().all())


def test_ties_alone_leave_the_head_where_it_began():
    found = train(replace(PLAN, weight_decay=0.0), rows=replace(ROWS, losses=torch.ones(1000)))
    untrained = LossRank(SIZES, PLAN.width)
    assert same(found.head.state(), initial_state(untrained, torch.Generator().manual_seed(PLAN.seed)))
    assert {point.loss for point in found.curve} == {0.0}


def test_a_head_that_diverges_is_refused():
    with pytest.raises(ValueError, match="lower rate"):
        train(replace(PLAN, loss="squared", rate=1e30))


def test_held_out_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match="5 wide, the head is for 6"):
        train(held_out=(JUDGED.features[:, :5], JUDGED.losses))


def test_trained_weights_hold_no_graph_and_are_the_heads_own():
    head = train().head
    assert all(not tensor.requires_grad for tensor in head.state().values())
    assert not head.score(ModelOutputs(torch.zeros(300, 2), features=JUDGED.features)).requires_grad
