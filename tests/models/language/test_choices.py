import pytest
import torch

from models.core.errors import DataError
from models.language.choices import Normalisation, score_next_token, score_texts
from models.language.continuations import ChoiceItem
from models.language.multiple_choice import Question, about_subject, lettered_item, letters
from tests.oracles import language as oracle

SHARED = "The following are multiple choice questions (with answers) about the sea.\n\n"
MIXED = [
    ChoiceItem(SHARED + "What is blue? Answer:", (" A", " B", " C", " D")),
    ChoiceItem(SHARED + "What is blue? Answer:", (" the sea", " the yellow sand of the shore", " nothing at all")),
    ChoiceItem(SHARED + "What is the colour of the sand?", (" yellow", " blue, as is the sea")),
    ChoiceItem("Answer: ", ("A", "Bad", "🌊🌊")),  # "r", ":" and " A" were met together in training
    ChoiceItem("ما لون البحر؟", (" أزرق", " أصفر كالرمل", " 蓝色", " x")),
    ChoiceItem("x", tuple(f" choice {number}" for number in range(64))),
    ChoiceItem("the sea " * 30, (" is", " is is", " is is is")),
]


def loop(tiny, items):
    return [oracle.choice_log_probabilities(tiny.network, tiny.tokenizer, item.prompt, item.choices) for item in items]


def rows(outputs):
    """The logits of every item as a list without absent choices."""
    mask = torch.ones_like(outputs.logits, dtype=torch.bool) if outputs.mask is None else outputs.mask
    return [row[present].tolist() for row, present in zip(outputs.logits, mask, strict=True)]


@pytest.mark.parametrize("budget", [16, 64, 4096])
def test_log_probabilities_of_texts_are_those_of_a_plain_loop(tiny, budget):
    outputs = score_texts(tiny, MIXED, budget=budget)
    for found, expected in zip(rows(outputs), loop(tiny, MIXED), strict=True):
        assert found == pytest.approx([sum(choice) for choice in expected], abs=1e-4)
    assert outputs.logits.shape == outputs.mask.shape == (7, 64)
    assert outputs.head is None


def test_length_normalised_is_the_mean_of_a_token(tiny):
    outputs = score_texts(tiny, MIXED, Normalisation.LENGTH)
    for found, expected in zip(rows(outputs), loop(tiny, MIXED), strict=True):
        assert found == pytest.approx([sum(choice) / len(choice) for choice in expected], abs=1e-4)


def test_unconditional_takes_off_what_the_choice_has_without_the_question(tiny):
    items = MIXED[:3]
    outputs = score_texts(tiny, items, Normalisation.UNCONDITIONAL)
    bare = loop(tiny, [ChoiceItem("Answer:", item.choices) for item in items])
    for found, expected, alone in zip(rows(outputs), loop(tiny, items), bare, strict=True):
        values = [sum(choice) - sum(other) for choice, other in zip(expected, alone, strict=True)]
        assert found == pytest.approx(values, abs=1e-4)


def test_a_token_over_the_border_belongs_to_the_choice(tiny):
    prompt, choice = tiny.encode("Answer: "), tiny.encode("Answer: A")
    assert oracle.common_beginning(prompt, choice) < len(prompt)
    found = score_texts(tiny, [MIXED[3]])
    assert found.logits[0].tolist() == pytest.approx([sum(each) for each in loop(tiny, [MIXED[3]])[0]], abs=1e-4)


def test_a_prompt_of_tokens_is_taken_as_it_is(tiny):
    item = ChoiceItem(tuple(tiny.encode("Answer:")), (" A", " B, the sea"))
    text = ChoiceItem("Answer:", item.choices)
    assert torch.equal(score_texts(tiny, [item]).logits, score_texts(tiny, [text]).logits)


def test_letters_have_the_softmax_of_their_log_probabilities(tiny):
    items = [
        lettered_item(Question(f"What is {word}?", choices, 0), SHARED)
        for word, choices in [("blue", ("sea", "sand", "sky")), ("yellow", ("sea", "sand"))]
    ]
    outputs = score_next_token(tiny, items)
    for found, expected in zip(outputs.log_probabilities(), loop(tiny, items), strict=True):
        values = torch.tensor([choice[0] for choice in expected]).log_softmax(dim=0)
        assert found[: len(values)].tolist() == pytest.approx(values.tolist(), abs=1e-4)
    assert outputs.mask.tolist() == [[True, True, True], [True, True, False]]
    assert outputs.head is None


def test_the_head_makes_the_logits_of_the_features_where_all_items_have_the_same_letters(tiny):
    outputs = score_next_token(tiny, [MIXED[0], ChoiceItem("Answer:", letters(4))])
    assert torch.equal(outputs.head.logits(outputs.features), outputs.logits)
    assert outputs.mask is None


@pytest.mark.parametrize("score", [score_texts, score_next_token])
def test_features_are_the_final_state_of_the_prompt(tiny, score):
    item = MIXED[0]
    _, state = oracle.hidden_states(tiny.network, tiny.encode(item.prompt))
    found = score(tiny, [item, ChoiceItem("another", letters(3))]).features[0]
    assert found.tolist() == pytest.approx(state.tolist(), abs=1e-4)


@pytest.mark.parametrize("score", [score_texts, score_next_token])
def test_other_items_in_the_batch_change_nothing_but_rounding(tiny, score):
    items = [ChoiceItem(f"{SHARED}{'blue ' * number}Answer:", letters(2 + number % 3)) for number in range(12)]
    together = score(tiny, items, budget=64)
    for number, item in enumerate(items):
        alone = score(tiny, [item])
        count = len(item.choices)
        assert together.logits[number, :count].tolist() == pytest.approx(alone.logits[0].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (ChoiceItem("", (" A", " B")), "prompt is empty"),
        (ChoiceItem((), (" A", " B")), "prompt is empty"),
        (ChoiceItem((340,), (" A", " B")), "outside 0..339"),
        (ChoiceItem("x", ()), "give 2 to 64"),
        (ChoiceItem("x", (" A",)), "give 2 to 64"),
        (ChoiceItem("x", tuple(f" {number}" for number in range(65))), "give 2 to 64"),
        (ChoiceItem("x", (" A", "")), "choice is empty"),
        (ChoiceItem("x", (" A", " B", " A")), "given twice"),
        (ChoiceItem("x" * 256, (" A", " B")), "context is 256"),
        (ChoiceItem("x", (" A", " \udcff")), "not valid Unicode"),
    ],
)
def test_an_item_that_cannot_be_scored_is_named_with_what_to_change(tiny, item, reason):
    with pytest.raises(DataError, match=f"item 1: .*{reason}") as caught:
        score_texts(tiny, [MIXED[0], item])
    assert caught.value.bad[0][0] == "1"


def test_a_prompt_may_fill_the_context_but_for_the_choice(tiny):
    item = ChoiceItem("🌊" * 63 + "xy", (" A", " B"))
    assert len(tiny.encode(item.prompt)) == 254
    assert torch.isfinite(score_texts(tiny, [item]).logits).all()


def test_no_items_are_refused(tiny):
    with pytest.raises(DataError, match="no item"):
        score_texts(tiny, [])


def test_choices_of_several_tokens_are_not_read_from_one(tiny):
    with pytest.raises(DataError, match=r"item 0: .*score them as texts"):
        score_next_token(tiny, [ChoiceItem("Answer:", (" A", " the sea"))])


def test_a_few_shot_prompt_has_mmlu_s_form():
    shot = Question("1 + 1?", ("1", "2", "3", "4"), 1)
    asked = lettered_item(Question(" 2 + 2? ", ("3", "4"), 1), about_subject("abstract_algebra"), [shot])
    assert asked == ChoiceItem(
        "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
        "1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer: B\n\n2 + 2?\nA. 3\nB. 4\nAnswer:",
        (" A", " B"),
    )


def test_there_are_26_letters():
    assert letters(26)[-1] == " Z"
    with pytest.raises(DataError, match="no letters"):
        letters(27)
