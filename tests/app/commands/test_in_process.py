"""A client on an app in this process, where it cannot be built; test_cli.py has one that scores."""

import asyncio

import pytest

from app.client.replies import HowsureConnectionError
from app.commands.in_process import in_process_client
from app.settings import Settings


async def enter(settings):
    async with in_process_client(settings):
        pass


def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(HowsureConnectionError, match="'abacus' is not a device") as raised:
        asyncio.run(enter(Settings(device="abacus", store=tmp_path)))
    assert raised.value.code == "not_loaded"
