"""The runner of experiments, on a toy; what the experiments on the noise warm-up compute of their own."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from models.core.input_spec import InputSpec
from models.training.classifier.plan import NoiseWarmUp, TrainPlan
from models.training.classifier.rows import PixelRows
from models.training.classifier.training import train_classifier
from tests.benchmarks.experiments import noise_warmup, noise_warmup_variants, toy
from tests.benchmarks.experiments.experiment import Experiment
from tests.benchmarks.experiments.journal import Journal, Run
from tests.benchmarks.experiments.measured import judged
from tests.benchmarks.experiments.noise_warmup_findings import findings, pair
from tests.benchmarks.experiments.registry import EXPERIMENTS
from tests.benchmarks.experiments.results import Results, compared
from tests.benchmarks.experiments.running import run_missing
from tests.benchmarks.experiments.warmed import CPU, Start, noise_figures, trained
from tests.benchmarks.experiments.written import write

ROOT = Path(__file__).parents[3]
CHILD = """
import sys
from pathlib import Path
from tests.benchmarks.experiments import toy
from tests.benchmarks.experiments.journal import Journal
from tests.benchmarks.experiments.running import run_missing
run_missing(toy.experiment(), Journal(Path(sys.argv[1])), 1, lambda run, left: None)
"""


def finished_toy(path: Path) -> list[Run]:
    run_missing(toy.experiment(), Journal(path), 1, lambda run, left: None)
    return Journal(path).runs()


def test_a_killed_run_goes_on_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, journal, fatal = tmp_path / "calls", tmp_path / "toy.jsonl", "better, size 1, seed 1"
    monkeypatch.setenv(toy.CALLS, str(calls))
    child = [sys.executable, "-c", CHILD, str(journal)]
    died = subprocess.run(child, env=os.environ | {toy.FATAL: fatal}, cwd=ROOT, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert [run.seed for run in Journal(journal).runs()] == [0, 0, 0, 0, 1, 1]
    assert [(run.key, run.seed) for run in finished_toy(journal)] == [
        (cell.key, seed) for cell, seed in toy.experiment().tasks
    ]
    begun = calls.read_text().splitlines()
    assert len(begun) == 16 + 1
    assert begun.count(fatal) == 2, "the one in which it died is all that is begun again"


@pytest.mark.slow
def test_two_processes_come_to_the_same(tmp_path: Path) -> None:
    beside = Journal(tmp_path / "two.jsonl")
    run_missing(toy.experiment(), beside, 2, lambda run, left: None)
    found = {(run.key, run.seed): run.figures for run in beside.runs()}
    assert len(beside.runs()) == 16
    assert found == {(run.key, run.seed): run.figures for run in finished_toy(tmp_path / "one.jsonl")}


def test_a_line_without_its_end_is_cut_off_and_run_again(tmp_path: Path) -> None:
    path = tmp_path / "toy.jsonl"
    runs = finished_toy(path)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert Journal(path).runs() == runs[:-1]
    again = finished_toy(path)
    assert [replace(run, seconds=0) for run in again] == [replace(run, seconds=0) for run in runs]


def test_a_run_is_told_when_it_is_on_disk(tmp_path: Path) -> None:
    journal, left = Journal(tmp_path / "toy.jsonl"), []

    def told(run: Run, missing: int) -> None:
        assert journal.runs()[-1] == run
        left.append(missing)

    run_missing(toy.experiment(), journal, 1, told)
    assert left == list(range(15, -1, -1))


def test_results_are_written_as_rows_tables_and_a_figure(tmp_path: Path) -> None:
    write(toy.experiment(), finished_toy(tmp_path / "toy.jsonl"), "make experiment NAME=toy", tmp_path)
    rows = list(csv.DictReader((tmp_path / "toy.csv").read_text().splitlines()))
    assert len(rows) == 16
    assert (rows[0]["cell"], rows[0]["seed"], float(rows[0]["error"])) == ("better, size 1", "0", 0.5)
    text = (tmp_path / "toy.md").read_text()
    assert "Written by `make experiment NAME=toy`." in text
    assert "- data: none" in text
    assert "- machine: " in text
    assert "- runs: 16 of 16" in text
    assert "|plain, size 2|2.1500 [2.0" in text
    assert "Better is better." in text
    picture = ElementTree.parse(tmp_path / "toy.svg").getroot()
    lines = list(picture.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2


def test_a_part_of_the_runs_is_written_too(tmp_path: Path) -> None:
    part = [run for run in finished_toy(tmp_path / "toy.jsonl") if run.key == "plain, size 1"]
    write(toy.experiment(), part, "", tmp_path)
    assert "|better, size 1||" in (tmp_path / "toy.md").read_text()
    assert not (tmp_path / "toy.svg").exists()


def test_two_cells_of_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="two cells have one key"):
        Experiment("twice", "", [(toy.Toy("plain", 1), 0)] * 2, toy.measure, toy.findings)


def test_differences_are_seed_by_seed() -> None:
    plain, better = toy.Toy("plain", 1), toy.Toy("better", 1)
    runs = [Run(plain.key, seed, {"error": seed}, 1.0) for seed in (0, 1, 2)]
    runs += [Run(better.key, seed, {"error": seed - 1 - seed / 10}, 1.0) for seed in (5, 2, 1)]
    results = Results(runs)
    assert results.differences(plain, better, "error") == pytest.approx([-1.1, -1.2])
    found = results.difference(plain, better, "error")
    assert found is not None
    assert (found.pairs, found.lower, found.p) == (2, 2, 0.5)
    assert results.difference(plain, toy.Toy("plain", 9), "error") is None
    assert results.mean(plain, "no such figure") is None


def test_the_signed_rank_test_by_hand() -> None:
    """All of n pairs on one side: two of the 2^n signs are as far out."""
    assert compared([-0.3, -0.1, -0.2, -0.4, -0.5]).p == pytest.approx(2 / 2**5)
    assert compared([0.0, 0.0]).p == 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_quick_part_is_a_part_of_the_whole(name: str) -> None:
    whole = [(cell.key, seed) for cell, seed in EXPERIMENTS[name](False).tasks]
    quick = [(cell.key, seed) for cell, seed in EXPERIMENTS[name](True).tasks]
    assert set(quick) < set(whole)


def test_few_images_and_great_depths_come_first() -> None:
    cells = [cell for cell, _ in EXPERIMENTS["noise_warmup"](False).tasks]
    assert len(cells) == 10 * (5 * 7 * 2 + 7)
    small = [cell.images <= noise_warmup.FEW for cell in cells]
    assert small == sorted(small, reverse=True)
    assert {cell.depth for cell in cells[: 10 * (2 * 4 * 2 + 4)]} == {4, 6}


def test_every_variant_is_held_against_one_without_a_warm_up() -> None:
    by_key = {cell.key: cell for cell in noise_warmup_variants.VARIANTS}
    for cell in by_key.values():
        against = by_key[cell.against]
        assert against.start == replace(cell.start, noise=None)
        assert against.plan == replace(cell.plan, label_smoothing=0.0)


def test_variants_are_told_beside_their_own_training_without_a_warm_up() -> None:
    errors = {"plain": 0.2, "warm-up": 0.05, "250 steps": 0.1, "xavier, plain": 0.3, "xavier, warm-up": 0.1}
    figures = {"accuracy": 0.3, "noise steps": 250.0}
    runs = [
        Run(key, seed, figures | {"ECE 10": error + 0.02 * seed * ("plain" in key)}, 1.0)
        for key, error in errors.items()
        for seed in (0, 1)
    ]
    means, gaps, phase = noise_warmup_variants.findings(Results(runs)).tables
    assert list(means.rows) == list(errors)
    assert [gaps.rows[key][0] for key in ("250 steps", "xavier, warm-up")] == [
        "-0.1100 [-0.1200, -0.1000]",
        "-0.2100 [-0.2200, -0.2000]",
    ]
    assert not {"plain", "xavier, plain"} & gaps.rows.keys()
    assert list(phase.rows) == ["warm-up", "250 steps", "xavier, warm-up"]


def test_a_shared_warm_up_leads_to_the_weights_of_a_whole_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spec = InputSpec(8, 8, 8, "bilinear", (0.5,) * 3, (0.25,) * 3)
    rows = PixelRows(rng.integers(0, 256, (40, 8, 8, 3), np.uint8), torch.from_numpy(rng.integers(0, 3, 40)), spec)
    noise, plan = NoiseWarmUp(steps=6, batch=8, rate=0.01), TrainPlan(epochs=2, batch=16, precision="float32", seed=3)
    start = Start("howsure", "resnet9", (("num_classes", 3), ("widths", (2, 4, 4, 4))), noise=noise)
    first, _, record = trained(start, plan, rows, rows, tmp_path)
    again, _, second = trained(start, plan, rows, rows, tmp_path)
    whole = train_classifier(
        start.network(3), "fc", rows, rows, replace(plan, noise_warmup=noise), CPU, None, lambda *step: None
    )
    assert record == second == whole.noise
    for network in (first, again):
        assert all(torch.equal(tensor, whole.state[name]) for name, tensor in network.state_dict().items())
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert noise_figures(record)["noise steps"] == 6
    assert noise_figures(None) == {}


def test_figures_of_a_network_that_is_always_sure() -> None:
    found = judged(torch.tensor([[50.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 0.0]]), torch.tensor([0, 1, 1, 1]))
    assert found["accuracy"] == 0.5
    assert found["confidence"] == pytest.approx(1)
    assert found["ECE 10"] == found["ECE 15"] == pytest.approx(0.5)
    assert found["NLL"] == pytest.approx(25)


def made_runs(gain: float, seeds: int = 10) -> list[Run]:
    """Of two cells; with the warm-up ECE is lower by `gain`, and by the seed."""
    runs = []
    for seed in range(seeds):
        plain, warm = pair(6, 500)
        figures = {"ECE 10": 0.2, "accuracy": 0.3, "half ECE 10": 0.2}
        runs.append(Run(plain.key, seed, figures, 1.0))
        after = {"noise confidence before": 0.4, "noise confidence after": 0.12}
        runs.append(Run(warm.key, seed, figures | {"ECE 10": 0.2 - gain - seed / 1000} | after, 1.0))
    return runs


@pytest.mark.parametrize(("gain", "holds", "share"), [(0.1, "yes", "100.0%"), (-0.005, "no", "40.0%")])
def test_acceptance_follows_the_pairs(gain: float, holds: str, share: str) -> None:
    acceptance = findings(Results(made_runs(gain))).tables[0].rows
    told, pairs, p, verdict = acceptance["ECE lower in at least 90% of pairs"]
    assert (str(told).split(",")[0], pairs, verdict) == (share, "10", holds)
    assert (float(str(p)) < 0.01) == (gain > 0)
    assert acceptance["accuracy at most 0.5% lower"][3] == "yes"
    assert acceptance["confidence after the warm-up at most 0.05 above chance, noise"][3] == "yes"
    assert acceptance["AUROC gained, MNIST, depth 6, 4000 images"] == [None] * 4
