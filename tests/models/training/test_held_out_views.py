"""Views of the images that a head is judged on, out of views in mixed order."""

import pytest
import torch

from models.core.errors import DataError
from models.feature_cache.view_rows import ViewRows
from models.training import held_out_views as module
from models.training.held_out_views import held_out_views


class Views:
    """View v shows image v % 5; its feature and its loss are v."""

    total = 23

    def read(self, start, stop):
        views = torch.arange(start, stop)
        return ViewRows(views[:, None].float(), views.float(), views % 3, views % 5)


def test_those_of_the_images_in_order(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    features, losses = held_out_views(Views(), [4, 0])
    assert losses.tolist() == [0, 4, 5, 9, 10, 14, 15, 19, 20]
    assert features[:, 0].equal(losses)


def test_no_more_than_are_needed(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(module, "MOST", 3)
    assert held_out_views(Views(), [4, 0])[1].tolist() == [0, 4, 5]


def test_none_is_refused():
    with pytest.raises(DataError, match="send more images"):
        held_out_views(Views(), [7])
