"""Keys: parsed strictly, found by secret, scopes hold."""

import pytest

from app.keys import ApiKey, Scope, find_key

HASH = "0" * 64


def test_created_key_is_found_by_its_secret_and_survives_its_text_form():
    key, secret = ApiKey.create("team", [Scope.READ, Scope.SCORE])
    assert find_key([ApiKey.parse(str(key))], secret) == key
    assert secret not in str(key)


def test_secrets_are_long_and_different():
    secrets = {ApiKey.create("team", [Scope.READ])[1] for _ in range(100)}
    assert len(secrets) == 100
    assert min(map(len, secrets)) >= 40


@pytest.mark.parametrize("presented", ["", "hs_wrong", "ключ", HASH])
def test_unknown_secret_finds_nothing(presented):
    key, _ = ApiKey.create("team", [Scope.READ])
    assert find_key([key], presented) is None
    assert find_key([], presented) is None


def test_the_hash_itself_opens_nothing():
    key, _ = ApiKey.create("team", [Scope.READ])
    assert find_key([key], key.sha256) is None


def test_scopes():
    key = ApiKey.parse(f"team:read+score:{HASH}")
    assert key.allows(Scope.READ)
    assert key.allows(Scope.SCORE)
    assert not key.allows(Scope.ADMIN)


def test_admin_may_do_everything():
    assert all(ApiKey.parse(f"root:admin:{HASH}").allows(scope) for scope in Scope)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "team",
        "team:read",
        f":read:{HASH}",
        f"team::{HASH}",
        f"team:read+:{HASH}",
        f"team:write:{HASH}",
        f"team:read:{HASH[:-1]}",
        f"team:read:{'G' * 64}",
        f"team:read:{HASH}:more",
        f"a team:read:{HASH}",
    ],
)
def test_other_entries_are_refused(entry):
    with pytest.raises(ValueError, match=r"API key entry|not a valid Scope"):
        ApiKey.parse(entry)
