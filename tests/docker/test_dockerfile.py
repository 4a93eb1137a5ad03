"""The container files hold what docker/README.md promises. Building the image is docker/smoke.sh."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
BASE = ["-f", "docker-compose.yml"]
GPU = [*BASE, "-f", "docker/compose.gpu.yml"]
SCRIPTS = sorted(path.relative_to(ROOT) for path in (ROOT / "docker").glob("*.sh"))


def run(*command, **env):
    # What the developer has set must not decide what is tested.
    own = ("HOWSURE_", "PIP_", "COMPOSE_", "POSTGRES_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=inherited | env, capture_output=True, text=True, timeout=120
    )


def compose_config(files, **env):
    env = {"HOWSURE_API_KEYS": "key", "POSTGRES_PASSWORD": "secret"} | env
    # Files are read and filled in as always, but no podman is looked for.
    return run(BIN / "podman-compose", "--dry-run", "--env-file", os.devnull, *files, "config", **env)


def compose(files, **env):
    result = compose_config(files, **env)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)


def instructions(text):
    """(INSTRUCTION, rest) pairs of the last stage, continued lines joined."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    pairs = [tuple(line.split(maxsplit=1)) for line in lines]
    last = max(index for index, (name, _) in enumerate(pairs) if name == "FROM")
    return pairs[last + 1 :]


def test_hadolint_passes():
    result = run(BIN / "hadolint", "--config", "docker/hadolint.yaml", "Dockerfile")
    assert result.returncode == 0, result.stdout + result.stderr


def test_image_is_unprivileged_and_watched():
    stage = dict(instructions((ROOT / "Dockerfile").read_text()))
    assert stage["USER"] == "10001:10001"
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert "/var/lib/howsure" in stage["VOLUME"]
    assert "healthcheck.py" in stage["HEALTHCHECK"]
    assert "entrypoint" in stage["ENTRYPOINT"]


@pytest.mark.parametrize("files", [BASE, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("name", ["api", "worker"])
def test_compose_locks_our_services_down(files, name):
    config = compose(files)
    service = config["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert "user" not in service, "the image's own user"
    assert "privileged" not in service
    assert service["volumes"] == ["state:/var/lib/howsure"]
    assert "state" in config["volumes"]
    assert service["environment"]["HOWSURE_STORE"].startswith("/var/lib/howsure/")
    assert service["restart"] == "unless-stopped"
    assert service["image"] == ("howsure:gpu" if files is GPU else "howsure:cpu")


def test_compose_publishes_and_watches_the_server_alone():
    services = compose(BASE)["services"]
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert services["api"]["healthcheck"]["test"][-1].endswith("healthcheck.py")
    assert not any("ports" in services[name] for name in ("worker", "postgres"))


def test_compose_has_workers_on_one_database_and_none_inside_the_server():
    services = compose(BASE, POSTGRES_PASSWORD="pa55")["services"]
    api, worker, postgres = (services[name] for name in ("api", "worker", "postgres"))
    url = "postgresql://howsure:pa55@postgres/howsure"
    assert api["environment"]["HOWSURE_JOBS_DATABASE"] == worker["environment"]["HOWSURE_JOBS_DATABASE"] == url
    assert Settings(jobs_database=url, store="/tmp/store").jobs_database == url
    assert postgres["environment"]["POSTGRES_PASSWORD"] == "pa55"
    assert api["environment"]["HOWSURE_WORKER"] == "false"
    assert worker["command"] == ["worker"]
    assert worker["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_compose_reserves_a_gpu_only_in_the_overlay():
    assert "deploy" not in compose(BASE)["services"]["api"]
    services = compose(GPU)["services"]
    for name in ("api", "worker"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia"
        assert device["capabilities"] == ["gpu"]
    assert services["api"]["build"]["args"][-1] == "VARIANT=gpu"


@pytest.mark.parametrize("missing", ["HOWSURE_API_KEYS", "POSTGRES_PASSWORD"])
def test_compose_refuses_to_start_without_secrets(missing):
    result = compose_config(BASE, **{missing: ""})
    assert result.returncode != 0
    assert missing in result.stderr


def test_compose_publishes_where_told():
    api = compose(BASE, HOWSURE_BIND="0.0.0.0", HOWSURE_PORT="9000")["services"]["api"]
    assert api["ports"] == ["0.0.0.0:9000:8000"]


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_scripts_are_sound(script):
    shell = (ROOT / script).read_text().split("\n", 1)[0].removeprefix("#!").removeprefix("/usr/bin/env ")
    parsed = run("sh" if shell == "/bin/sh" else "bash", "-n", script)
    assert parsed.returncode == 0, parsed.stderr
    checked = run(BIN / "shellcheck", "--external-sources", script)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "serve --host 0.0.0.0 --port 8000"),
        (["--log-level", "DEBUG"], "serve --host 0.0.0.0 --port 8000 --log-level DEBUG"),
        (["serve", "--port", "9000"], "serve --host 0.0.0.0 --port 8000 --port 9000"),
        (["--version"], "--version"),
        (["models", "list"], "models list"),
        (["worker"], "worker"),
    ],
)
def test_entrypoint(arguments, expected):
    script = (ROOT / "docker/entrypoint.sh").read_text().replace("exec /opt/howsure/bin/howsure", "echo")
    assert run("sh", "-c", script, "entrypoint", *arguments).stdout.strip() == expected


@pytest.mark.parametrize("engine", ["docker", "buildah"])
def test_build_hands_on_the_pip_settings(tmp_path, engine):
    index, wheels = tmp_path / "index" / "simple", tmp_path / "wheels"
    index.mkdir(parents=True)
    wheels.mkdir()
    pip = tmp_path / "pip.conf"
    pip.write_text(f"[global]\nindex-url = https://mirror.example/simple\nextra-index-url = file://{index}\n")
    fake = tmp_path / "bin" / engine
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@"\nfor a; do case $a in id=pip,src=*) cat "${a#id=pip,src=}" ;; esac; done\n')
    fake.chmod(0o755)
    path = os.pathsep.join([str(fake.parent), str(BIN), os.environ["PATH"]])
    env = {"PATH": path, "ENGINE": engine, "PIP_CONFIG_FILE": str(pip), "PIP_FIND_LINKS": str(wheels)}

    result = run("docker/build.sh", "name:tag", "--pull", TORCH_INDEX="https://torch.example", VARIANT="gpu", **env)

    assert result.returncode == 0, result.stderr
    command, *settings = result.stdout.splitlines()
    assert "--tag name:tag" in command
    assert command.endswith("--pull .")
    assert "--build-arg TORCH_INDEX=https://torch.example --build-arg VARIANT=gpu" in command
    assert "index-url = https://mirror.example/simple" in settings
    local = [f"extra-index-url = file://{index}", f"find-links = {wheels}"]
    mounts = [f"--volume {folder}:{folder}:ro" for folder in (index.parent, wheels)]
    for expected, present in [*((line, line in settings) for line in local), *((m, m in command) for m in mounts)]:
        assert present == (engine == "buildah"), expected
