"""The commands: in this process where they only talk to a server, as a process where they are one."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.keys import ApiKey, Scope, find_key
from models.checkpoints.shipped import IMAGE_MODELS
from tests.fixtures.server import ASSETS, CATS, free_port

MODEL, SHIPPED = "efficientnet-lite0", list(IMAGE_MODELS)
# The command line, with nothing at the default address; nobody may bind port 1 or answers there.
NO_SERVER = (
    "import app.client.connection, app.cli\napp.client.connection.DEFAULT_URL = 'http://127.0.0.1:1'\napp.cli.main()"
)
PROBLEM = {"status": 401, "code": "unauthorized", "detail": "this key is not known"}


@pytest.fixture
def howsure(monkeypatch):
    """`howsure(*arguments)` in this process; its result has exit_code, stdout and stderr."""
    for name in list(os.environ):
        if name.startswith("HOWSURE_"):
            monkeypatch.delenv(name)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def process(session_store):
    """`process(*command, **env)`: a Python process with these HOWSURE_* variables and the session's store."""

    def run(*command, **env):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOWSURE_")}
        environment |= {"HOWSURE_STORE": str(session_store), "HOWSURE_SHIPPED": ",".join(SHIPPED)} | env
        return subprocess.run(
            [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_help_imports_nothing_heavy(process):
    script = "import sys\nfrom app.cli import main\ntry:\n  main()\nfinally:\n  print(*sys.modules, file=sys.stderr)"
    shown = process("-c", script, "--help")
    assert shown.returncode == 0
    for command in ("serve", "score", "models", "datasets", "jobs", "keys", "demo", "version"):
        assert command in shown.stdout
    assert "typer" in shown.stderr.split()
    assert not {"torch", "httpx", "fastapi", "pydantic", "numpy", "app.settings"} & set(shown.stderr.split())


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_version(howsure, argument):
    result = howsure(argument)
    assert (result.exit_code, result.stdout) == (0, f"howsure {version('howsure')}\n")


def test_a_new_key_is_one_that_the_server_takes(howsure):
    result = howsure("keys", "new", "team-a", "--scope", "score", "--scope", "admin")
    secret, entry = (line.split()[-1] for line in result.stdout.splitlines())
    key = ApiKey.parse(entry)
    assert (key.name, key.scopes) == ("team-a", {Scope.SCORE, Scope.ADMIN})
    assert find_key([key], secret) is key
    assert ":read+score:" in howsure("keys", "new", "team-b").stdout


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a,b"])
def test_a_key_needs_a_name_that_can_be_configured(howsure, name):
    result = howsure("keys", "new", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "letters, digits" in result.stderr


def test_score_prints_a_table(howsure, server):
    result = howsure("score", "--url", server.url, ASSETS)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.index("chelsea.jpg") < result.stdout.index("coffee.jpg")
    assert "2 scored, 0 failed" in result.stdout
    assert "Confidence is the calibrated probability" in result.stdout


def test_score_prints_the_documents_of_the_api(howsure, server):
    options = ["--json", "--model", MODEL, "--scores", "entropy,energy", "--top-k", "2"]
    result = howsure("score", "--url", server.url, ASSETS / "chelsea.jpg", *options)
    document = json.loads(result.stdout)
    assert document["usage"] == {"items": 1, "scored": 1, "failed": 0}
    assert document["data"][0]["uncertainty"].keys() == {"entropy", "energy"}
    assert len(document["data"][0]["top"]) == 2
    assert (result.exit_code, result.stderr) == (0, "")


def test_score_sorts_and_shows_a_gallery(howsure, server, tmp_path):
    page = tmp_path / "gallery.html"
    options = ["--sort", "entropy", "--gallery", page, "--gallery-size", "1"]
    shown = howsure("score", "--url", server.url, ASSETS, *options)
    assert shown.exit_code == 0, shown.stderr
    document = json.loads(howsure("score", "--url", server.url, ASSETS, "--json", "--sort", "entropy").stdout)
    first, second = document["data"]
    assert first["uncertainty"]["entropy"]["value"] > second["uncertainty"]["entropy"]["value"]
    names = [item["input"].rpartition("/")[2] for item in (first, second)]
    assert shown.stdout.index(names[0]) < shown.stdout.index(names[1])
    assert "most uncertain first, by entropy" in " ".join(shown.stdout.split())
    assert shown.stderr == f"The most and the least uncertain images are in {page}\n"
    text = page.read_text(encoding="utf-8")
    assert text.index(f"{names[0]}: ") < text.index("Least uncertain") < text.index(f"{names[1]}: ")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--gallery", "g.html"], "--gallery needs an order: add --sort SCORE"),
        (["--gallery", "none/g.html", "--sort", "entropy"], "--gallery: there is no folder none; make it first"),
        (["--gallery", "/", "--sort", "entropy"], "--gallery: / is a folder; name a file in it"),
    ],
)
def test_a_gallery_that_cannot_be_is_refused_before_anything_is_scored(howsure, options, complaint):
    result = howsure("score", "--url", f"http://127.0.0.1:{free_port()}", ASSETS, *options)
    assert (result.exit_code, result.stderr) == (2, f"error: {complaint}\n")


def test_an_order_of_exact_values_over_several_requests_is_refused(howsure, tmp_path):
    for number in range(33):
        (tmp_path / f"{number}.png").write_bytes(b"")
    result = howsure("score", tmp_path, "--scores", "entropy,epistemic:exact", "--sort", "epistemic")
    complaint = "--sort epistemic with epistemic:exact: so many files take several requests; sort by its fast form"
    assert (result.exit_code, result.stderr) == (2, f"error: {complaint}\n")


def test_a_gallery_that_cannot_be_written_costs_no_scores(howsure, server):
    options = ["--sort", "entropy", "--gallery", "/proc/gallery.html"]
    result = howsure("score", "--url", server.url, ASSETS / "coffee.jpg", *options)
    assert result.exit_code == 1
    assert "espresso" in result.stdout
    assert result.stderr.startswith("error: /proc/gallery.html: ")


def test_an_order_by_a_score_that_is_not_there_is_the_error_of_the_api(howsure, server):
    result = howsure("score", "--url", server.url, ASSETS, "--sort", "luck")
    assert result.exit_code == 1
    assert "cannot sort by luck: model efficientnet-lite0 has no such score; it has: entropy" in result.stderr


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_score_ends_with_1_when_any_image_failed(howsure, server, tmp_path, option):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    shutil.copy(ASSETS / "coffee.jpg", tmp_path)
    result = howsure("score", "--url", server.url, tmp_path, *option)
    assert result.exit_code == 1
    assert "espresso" in result.stdout
    assert "image_format_unsupported" in result.stdout
    assert result.stderr == ""


def test_score_of_one_bad_image_is_the_error_of_the_api(howsure, server, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    for options in ([], ["--json"]):
        result = howsure("score", "--url", server.url, tmp_path / "bad.jpg", *options)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: not an image in one of the formats")
        assert result.stderr.endswith("(image_format_unsupported)\n")
    assert json.loads(result.stdout)["status"] == 415


def test_score_of_a_folder_without_images(howsure, tmp_path):
    result = howsure("score", tmp_path)
    assert result.exit_code == 2
    assert result.stderr == f"error: no image files below {tmp_path}\n"


def test_score_without_a_server_happens_in_this_process(process, server):
    # What only a server that listens needs is not asked for here.
    settings = {"HOWSURE_API_KEYS": f"a:score:{64 * '0'}", "HOWSURE_HOST": "0.0.0.0", "HOWSURE_MAX_BATCH": "1"}
    done = process("-c", NO_SERVER, "score", "--json", ASSETS / "chelsea.jpg", "pyproject.toml", **settings)
    assert done.returncode == 1, done.stderr
    scored, failed = json.loads(done.stdout)["data"]
    assert scored["label"] in CATS
    assert failed["error"]["code"] == "image_format_unsupported"
    assert "scoring in this process instead" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_named_server_that_is_absent_is_an_error(howsure, monkeypatch):
    result = howsure("score", "--url", f"http://127.0.0.1:{free_port()}", ASSETS)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: nothing answers at http://127.0.0.1:")
    monkeypatch.setenv("HOWSURE_URL", f"http://127.0.0.1:{free_port()}")
    for command in (["score", ASSETS], ["models"], ["models", "show", MODEL]):
        result = howsure(*command)
        assert result.exit_code == 1
        assert result.stderr.endswith("(unreachable)\n")


def test_models_as_tables(howsure, server):
    for command in (["models"], ["models", "list"]):
        listed = howsure(*command, "--url", server.url)
        assert (listed.exit_code, MODEL in listed.stdout) == (0, True)
    shown = howsure("models", "show", MODEL, "--url", server.url).stdout
    assert "ECE" in shown
    assert "warning: " in shown
    assert "shipped with this release" in howsure("models", "versions", MODEL, "--url", server.url).stdout


def test_models_as_json(howsure, server):
    listed = json.loads(howsure("models", "--url", server.url, "--json").stdout)
    card = json.loads(howsure("models", "show", MODEL, "--url", server.url, "--json").stdout)
    versions = json.loads(howsure("models", "versions", MODEL, "--url", server.url, "--json").stdout)
    report = json.loads(howsure("models", "report", MODEL, 1, "--url", server.url).stdout)
    assert [found["id"] for found in listed["data"]] == SHIPPED
    assert card in listed["data"]
    assert versions["data"][0]["active"] is True
    assert len(report["evaluations"]) > 1


def test_an_unknown_model(howsure, server):
    result = howsure("models", "show", "nothing", "--url", server.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: no model 'nothing'; there are: {', '.join(SHIPPED)} (not_found)\n"


def test_options_in_front_of_a_models_command_are_not_lost_in_silence(howsure, server):
    result = howsure("models", "--json", "list", "--url", server.url)
    assert (result.exit_code, result.stderr) == (2, "error: write the options behind `list`\n")


def test_the_key_is_sent(howsure, scripted, monkeypatch):
    locked = scripted((401, {}, PROBLEM))
    monkeypatch.setenv("HOWSURE_API_KEY", "from-environment")
    for options in ([], ["--api-key", "given"]):
        result = howsure("models", "list", "--url", locked.url, *options)
        assert result.stderr == "error: this key is not known (unauthorized)\n"
    assert [asked.headers["authorization"] for asked in locked.asked] == ["Bearer from-environment", "Bearer given"]


@pytest.mark.parametrize(
    ("arguments", "env", "complaint"),
    [
        (["--port", "99999"], {}, "error: --port: Input should be less than or equal to 65535"),
        (["--precision", "half"], {}, "error: --precision: Input should be 'auto', 'bfloat16' or 'float32'"),
        ([], {"HOWSURE_QUEUE_ITEMS": "none"}, "error: HOWSURE_QUEUE_ITEMS: Input should be a valid integer"),
        ([], {"HOWSURE_API_KEYS": "me"}, "error: HOWSURE_API_KEYS: an API key entry is name:scope+scope:sha256"),
        (["--host", "0.0.0.0"], {}, "error: refusing to bind 0.0.0.0 without API keys"),
    ],
)
def test_serve_refuses_bad_settings_in_one_line(howsure, monkeypatch, arguments, env, complaint):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    result = howsure("serve", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(complaint)
    assert len(result.stderr.splitlines()) == 1
    assert "default factory" not in result.stderr


def test_serve_on_a_taken_port(howsure, server):
    port = server.url.rpartition(":")[2]
    result = howsure("serve", "--port", port)
    assert result.exit_code == 1
    assert result.stderr == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_serve_without_any_model_that_loads(process, server, session_store, tmp_path):
    shutil.copytree(session_store / MODEL, tmp_path / MODEL)
    (tmp_path / MODEL / "active.json").write_text("{")
    done = process(
        "-m", "app.cli", "serve", "--port", "0", "--store", tmp_path, HOWSURE_STORE="elsewhere", HOWSURE_SHIPPED=MODEL
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: no model could be loaded from {tmp_path}: {MODEL}: ")


def test_serve_on_a_device_that_is_not_there(howsure):
    result = howsure("serve", "--port", "0", "--device", "abacus")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 'abacus' is not a device")


def test_serve_says_where(server):
    first = server.log.read_text().splitlines()[0]
    assert first.startswith(f"howsure {version('howsure')} serves {server.url}, see {server.url}/docs")


def test_a_misspelt_variable_is_pointed_out(howsure, monkeypatch):
    monkeypatch.setenv("HOWSURE_MAX_BATCHES", "3")
    monkeypatch.setenv("HOWSURE_BIND", "127.0.0.1")
    told = howsure("serve", "--port", 99999).stderr
    assert "warning: HOWSURE_MAX_BATCHES is no setting of howsure; did you mean HOWSURE_MAX_BATCH?" in told
    assert "HOWSURE_BIND" not in told
