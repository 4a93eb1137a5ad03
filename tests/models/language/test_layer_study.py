"""A whole study on a tiny model, its figures held to plain passes; and what it says where there is nothing to find."""

import pytest
import torch

from models.core.errors import DataError
from models.language import anatomy
from models.language.continuations import ChoiceItem
from models.language.direction import CalibrationDirection, SweepPoint
from models.language.layer_study import study_layers
from models.language.layer_study_step import Swept, why_no_phase
from models.language.layers import BINS, CorrectionPhase, LayerFigures, layer_outputs, layer_states
from models.language.multiple_choice import letters
from models.language.next_token import next_token_questions
from tests.fixtures.layer_studies import made_study
from tests.oracles import language as oracle
from tests.oracles.calibration import best_temperature
from tests.oracles.metrics import expected_calibration_error, maximum_calibration_error, softmax

WORDS = ["sea", "sand", "blue", "yellow", "colour", "answer", "question", "river", "stone", "tree"]
ITEMS = [
    ChoiceItem(f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} {WORDS[n * 7 % 10]} Answer:", letters(4)) for n in range(100)
]


def figures(layer, ece, accuracy=0.4):
    return LayerFigures(layer, accuracy, 0.5, ece, 0.5)


@pytest.fixture(scope="module")
def parts(tiny):
    """Two halves of the items whose answer the last layer leaves as it is, so that there is a correction phase."""
    questions = next_token_questions(tiny, ITEMS)
    before, last = (each.logits.argmax(dim=1) for each in _last_two(tiny, questions))
    kept = (before == last).nonzero()[:, 0].tolist()
    labels = [_label(number, int(last[number])) for number in kept]
    half = len(kept) // 2
    items = [ITEMS[number] for number in kept]
    return items[:half], torch.tensor(labels[:half]), items[half:], torch.tensor(labels[half:])


def _last_two(tiny, questions):
    return list(layer_outputs(tiny, layer_states(tiny, questions), questions.tokens))[-2:]


def _label(number, answer):
    """Right for one in three."""
    return answer if number % 3 == 0 else (answer + 1 + number % 3) % 4


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def study(tiny, parts, heard):
    return study_layers(tiny, *parts, seed=0, told=lambda share, what: heard.append((share, what)))


@pytest.fixture(scope="module")
def report(study):
    return study.report()


def plain_logits(tiny, item, layer, change):
    """The choices' logits by one plain pass, `change` made to the last token's state after `layer`."""

    def changed(_block, _inputs, output):
        output[0, -1] = change(output[0, -1])
        return output

    handle = anatomy.blocks(tiny.network)[layer - 1].register_forward_hook(changed)
    try:
        _, state = oracle.hidden_states(tiny.network, tiny.encode(item.prompt))
    finally:
        handle.remove()
    tokens = [tiny.encode_more(choice)[0] for choice in item.choices]
    return (tiny.unembedding.weight[tokens] @ state).tolist()


def changes(step):
    return {
        "nothing": lambda state: state,
        "direction": lambda state: state + step.length * step.vector,
        "opposite": lambda state: state - step.length * step.vector,
        "ablated": lambda state: state - (state @ step.vector) * step.vector,
    }


def check_row(row, logits, labels):
    probabilities = [softmax(each) for each in logits]
    confidence = [max(each) for each in probabilities]
    correct = [each.index(max(each)) == label for each, label in zip(probabilities, labels.tolist(), strict=True)]
    assert row["confidence"] == pytest.approx(sum(confidence) / len(confidence), abs=1e-4)
    assert row["accuracy"] == pytest.approx(sum(correct) / len(correct))
    assert row["ece"]["value"] == pytest.approx(
        expected_calibration_error(confidence, correct, BINS, "width"), abs=1e-4
    )
    assert row["mce"] == pytest.approx(maximum_calibration_error(confidence, correct, BINS, "width"), abs=1e-4)
    assert row["ece"]["low"] <= row["ece"]["value"] <= row["ece"]["high"]


def test_the_made_up_study_that_pages_are_tested_with_has_its_shape(report):
    assert shape(made_study()) == shape(report)


def shape(found):
    """Names at every depth; of a list those of its first entry."""
    if isinstance(found, dict):
        return {name: shape(value) for name, value in found.items()}
    return [shape(found[0])] if isinstance(found, list) else type(found)


@pytest.mark.parametrize("way", ["nothing", "direction", "opposite", "ablated"])
def test_each_way_is_judged_by_what_plain_passes_with_the_change_say(tiny, parts, study, report, way):
    change = changes(study.step)[way]
    logits = [plain_logits(tiny, item, study.step.layer, change) for item in parts[2]]
    check_row(report["compared"][way], logits, parts[3])


@pytest.mark.parametrize(("way", "under"), [("temperature", "nothing"), ("direction_then_temperature", "direction")])
def test_temperatures_are_fitted_on_one_part_and_judged_on_the_other(tiny, parts, study, report, way, under):
    change = changes(study.step)[under]
    fit, judged = ([plain_logits(tiny, item, study.step.layer, change) for item in part] for part in parts[::2])
    temperature = best_temperature(fit, parts[1].tolist())
    check_row(report["compared"][way], [[z / temperature for z in row] for row in judged], parts[3])
    if under == "direction":
        assert study.temperature == pytest.approx(temperature, rel=1e-3)


def test_the_step_is_the_best_of_the_sweep_in_the_length_of_the_stream(tiny, parts, study, report):
    tried = {(point["layer"], point["step"]) for point in report["sweep"]}
    assert {layer for layer, _ in tried} == {report["phase"]["peak"], 4}
    own = next(point for point in report["sweep"] if point["step"] == 0)
    allowed = [point for point in report["sweep"] if point["accuracy"] >= own["accuracy"] - 0.005]
    best = min(allowed, key=lambda point: point["ece"])
    assert (report["step"]["layer"], report["step"]["step"]) == (best["layer"], best["step"])
    streams = [oracle.hidden_states(tiny.network, tiny.encode(item.prompt))[0] for item in parts[0]]
    if study.step.layer < 4:
        length = sum(float(stream[study.step.layer - 1].norm()) for stream in streams) / len(streams)
        assert study.step.length == pytest.approx(best["step"] * length, rel=1e-4)
    assert report["step"]["length"] == study.step.length
    assert float(study.step.vector.norm()) == pytest.approx(1)


def test_curves_are_of_both_parts_and_end_at_the_model_s_own_answers(report, parts):
    assert report["rows"] == {"fit": len(parts[1]), "report": len(parts[3])}
    last = report["curves"]["report"][-1]
    assert last["layer"] == 4
    assert last["ece"] == pytest.approx(report["compared"]["nothing"]["ece"]["value"])
    assert report["curves"]["fit"] != report["curves"]["report"]


def test_random_directions_have_a_mean_between_their_ends_and_gains_are_differences(report):
    random, compared = report["compared"]["random"], report["compared"]
    assert random["directions"] == 20
    for name in ("ece", "mce", "accuracy", "confidence"):
        assert random[name]["lowest"] <= random[name]["mean"] <= random[name]["highest"]
    assert random["ece"]["lowest"] < random["ece"]["highest"]
    eces = {way: found["ece"].get("value", found["ece"].get("mean")) for way, found in compared.items()}
    assert len(report["gains"]) == 4
    for gain in report["gains"]:
        assert gain["value"] == pytest.approx(eces[gain["against"]] - eces[gain["of"]])


def test_the_null_space_is_told_beside_chance(report):
    found = report["null_space"]
    assert (found["directions"], found["width"]) == (1, 32)
    assert found["by_chance"] == pytest.approx((1 / 32) ** 0.5)
    assert 0 < found["direction"] < 1
    assert len({neuron["neuron"] for neuron in found["entropy_neurons"]}) == 5


def test_the_same_again_is_bit_for_bit_the_same(tiny, parts, study):
    again = study_layers(tiny, *parts, seed=0, told=lambda share, what: None)
    assert again.step.length == study.step.length
    assert again.temperature == study.temperature
    for way, found in study.judged.items():
        for one, other in zip(found, again.judged[way], strict=True):
            assert torch.equal(one.confidence, other.confidence)


def test_it_tells_how_far_it_is_up_to_the_end(study, heard):
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert heard[-1][0] == 1
    assert len({what for _, what in heard}) >= 4


def test_without_a_phase_only_a_temperature_is_compared_and_nothing_is_forced(tiny):
    questions = next_token_questions(tiny, ITEMS[:40])
    labels = _last_two(tiny, questions)[1].logits.argmax(dim=1)
    found = study_layers(
        tiny, ITEMS[:20], labels[:20], ITEMS[20:40], labels[20:], seed=0, told=lambda share, what: None
    )
    report = found.report()
    assert (found.step, report["phase"], report["step"], report["sweep"]) == (None, None, None, [])
    assert "no correction phase found" in found.reason
    assert report["compared"].keys() == {"nothing", "temperature"}
    assert report["null_space"]["direction"] is None


def test_a_sweep_that_is_best_at_no_step_gives_none():
    direction = CalibrationDirection(torch.eye(8)[0], 0.9, torch.full((4,), 2.0))
    points = tuple(SweepPoint(4, step, figures(4, 0.1 + abs(step))) for step in (0.0, 0.1))
    phase = CorrectionPhase(3, (4,))
    none, some = (Swept(phase, direction, points, chosen, None) for chosen in points)
    assert (none.step, none.record()["step"]) == (None, None)
    assert some.record()["step"] == {"layer": 4, "step": 0.1, "length": pytest.approx(0.2)}


@pytest.mark.parametrize(
    ("curve", "told"),
    [
        ([figures(1, 0.2), figures(2, 0.31), figures(3, 0.3)], "0.310 at its highest, after layer 2, and 0.300"),
        ([figures(1, 0.2, 0.1), figures(2, 0.5, 0.1), figures(3, 0.3, 0.4)], "the answers change"),
    ],
)
def test_it_says_why_there_is_no_phase(curve, told):
    assert told in why_no_phase(curve)


def test_an_error_of_the_listener_ends_it_and_leaves_no_hook(tiny, parts):
    def told(share, what):
        raise InterruptedError(what)

    blocks = anatomy.blocks(tiny.network)
    before = [dict(block._forward_hooks) for block in blocks]
    with pytest.raises(InterruptedError, match="layer by layer"):
        study_layers(tiny, *parts, seed=0, told=told)
    assert [dict(block._forward_hooks) for block in blocks] == before


def test_labels_that_are_none_of_the_choices_are_refused_before_anything_is_read(tiny):
    labels = torch.tensor([0, 4])
    with pytest.raises(DataError, match="item 1: label 4"):
        study_layers(tiny, ITEMS[:2], labels, ITEMS[2:4], labels, seed=0, told=pytest.fail)
    with pytest.raises(ValueError, match="2 items need as many labels"):
        study_layers(tiny, ITEMS[:2], labels[:1], ITEMS[2:4], labels, seed=0, told=pytest.fail)
