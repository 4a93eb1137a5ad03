"""Settings come from the environment, are checked at once, and show no secrets in their errors."""

import pytest
from pydantic import ValidationError

from app.keys import ApiKey, Scope
from app.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in list(__import__("os").environ):
        if name.startswith("HOWSURE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_defaults_are_safe(tmp_path):
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.api_keys == ()
    assert settings.store == tmp_path / "howsure" / "store"
    assert settings.datasets == tmp_path / "howsure" / "datasets"
    assert settings.feature_cache == tmp_path / "howsure" / "features"
    assert settings.data_root is None
    assert not settings.hub
    assert settings.cores >= 1


def test_variables_are_read(monkeypatch):
    monkeypatch.setenv("HOWSURE_PORT", "9000")
    monkeypatch.setenv("HOWSURE_THREADS", "3")
    keys = [ApiKey.create(name, [Scope.SCORE])[0] for name in "ab"]
    monkeypatch.setenv("HOWSURE_API_KEYS", " , ".join(map(str, keys)) + ",")
    settings = Settings()
    assert (settings.port, settings.cores) == (9000, 3)
    assert list(settings.api_keys) == keys


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "http"),
        ("MAX_BATCH", "0"),
        ("MAX_WAIT_MS", "-1"),
        ("REQUEST_SECONDS", "0"),
        ("PRECISION", "float64"),
        ("API_KEYS", "only-a-name"),
        ("LOG_LEVEL", "verbose"),
        ("QUEUE_ITEMS", "63"),
        ("EXACT_SECONDS", "-1"),
    ],
)
def test_bad_values_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"HOWSURE_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_binding_beyond_loopback_needs_keys_or_a_word(monkeypatch, host):
    monkeypatch.setenv("HOWSURE_HOST", host)
    with pytest.raises(ValidationError, match="refusing to bind"):
        Settings()
    monkeypatch.setenv("HOWSURE_ALLOW_OPEN", "true")
    assert Settings().host == host
    monkeypatch.delenv("HOWSURE_ALLOW_OPEN")
    monkeypatch.setenv("HOWSURE_API_KEYS", str(ApiKey.create("team", [Scope.SCORE])[0]))
    assert Settings().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_keys(monkeypatch, host):
    monkeypatch.setenv("HOWSURE_HOST", host)
    assert Settings().host == host


def test_a_secret_put_in_by_mistake_is_not_shown(monkeypatch):
    _, secret = ApiKey.create("team", [Scope.SCORE])
    monkeypatch.setenv("HOWSURE_API_KEYS", secret)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert secret not in str(refused.value)
