"""The real model, out of its package."""

import gzip
import json

import pytest
import torch

from models.core.errors import CheckpointError
from models.language.causal_lm import load_causal_lm
from models.language.choices import score_next_token, score_texts
from models.language.continuations import ChoiceItem
from models.language.conversion import convert
from models.language.layers import layer_outputs, layer_states
from models.language.multiple_choice import Question, about_subject, lettered_item
from models.language.next_token import next_token_questions
from models.language.smollm2 import packaged_gguf
from tests.oracles import language as oracle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
]  # of processor time two minutes

SHOTS = [Question("What is 2 + 2?", ("3", "4", "5"), 1), Question("What is 3 + 3?", ("6", "7", "9"), 0)]
ITEMS = [
    lettered_item(Question(f"What is {n} + {n}?", (str(2 * n), "1", "0"), 0), about_subject("arithmetic"), SHOTS)
    for n in (5, 6, 70)
]
QUESTIONS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    try:
        source = packaged_gguf()
    except CheckpointError as error:
        pytest.skip(str(error))
    found = tmp_path_factory.mktemp("smollm2") / "model"
    convert(source, found)
    return found


@pytest.fixture(scope="module")
def smollm2(folder):
    return load_causal_lm(folder, torch.device("cpu"), "float32")


def test_knows_the_capital_of_france_and_where_a_chat_turn_begins(smollm2):
    item = ChoiceItem("The capital of France is", (" Paris", " Rome", " a town in Japan"))
    assert score_texts(smollm2, [item]).logits.argmax() == 0
    asked = smollm2.chat([{"role": "user", "content": "Hello"}])
    assert asked.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")


def test_choices_are_those_of_a_plain_loop(smollm2):
    texts = [ChoiceItem(ITEMS[0].prompt, (" A", " the first, of course", " 一番目 🌊"))]
    for items, score in ((ITEMS, score_next_token), (texts, score_texts)):
        found = score(smollm2, items).log_probabilities()
        for row, item in zip(found, items, strict=True):
            loop = oracle.choice_log_probabilities(smollm2.network, smollm2.tokenizer, item.prompt, item.choices)
            expected = torch.tensor([sum(choice) for choice in loop]).log_softmax(dim=0)
            assert row.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.data
def test_log_likelihoods_of_200_questions_are_those_of_a_plain_loop(smollm2, labelled_data):
    items = shortest_questions(labelled_data)
    found = score_texts(smollm2, items).logits
    for row, item in zip(found, items, strict=True):
        loop = oracle.choice_log_probabilities(smollm2.network, smollm2.tokenizer, item.prompt, item.choices)
        assert row.tolist() == pytest.approx([sum(choice) for choice in loop], abs=1e-4)


def shortest_questions(folder):
    """With two choices each: the loop makes logits of the whole vocabulary at every token of every choice."""
    with gzip.open(folder / "commonsenseqa_dev_shared.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = sorted(map(json.loads, file), key=lambda row: len(row["question"]))[:QUESTIONS]
    return [
        ChoiceItem(f"{row['question']}\nAnswer:", tuple(f" {choice}" for choice in row["choices"][:2])) for row in rows
    ]


def test_the_last_layer_answers_as_the_model_does(smollm2):
    questions = next_token_questions(smollm2, ITEMS)
    last = list(layer_outputs(smollm2, layer_states(smollm2, questions), questions.tokens))[-1]
    assert torch.allclose(last.logits, score_next_token(smollm2, ITEMS).logits, atol=1e-4)


def test_bfloat16_stays_within_half_a_nat_of_float32(smollm2, folder):
    rounded = load_causal_lm(folder, torch.device("cpu"), "bfloat16")
    exact = score_next_token(smollm2, ITEMS).log_probabilities()
    assert torch.allclose(score_next_token(rounded, ITEMS).log_probabilities(), exact, atol=0.5)
