import math

import pytest
import torch

from models.core.errors import DataError
from models.language.causal_lm import CausalLM
from models.language.generation.answers import answer
from models.language.generation.decoding import Decoding, Prompt, end_tokens, fitted
from models.language.generation.sampling import Sampling
from models.language.generation.token import Finish
from tests.models.language.tiny_model import tiny_network, tiny_tokenizer
from tests.oracles import generation as oracle
from tests.oracles.language import token_log_probabilities

TEXTS = ["The sea is", "What is the colour of the sand?", "🌊", "Answer: A Answer: B " * 8, "x"]
GREEDY = Sampling(20, temperature=0)


def prompts(tiny, *samplings, count=1):
    return [Prompt(tiny.encode(text), sampling, count) for text in TEXTS for sampling in samplings]


def drive(decoding, joins):
    """The answers' tokens, where prompt i joins before step joins[i]."""
    grown, step = {}, 0
    waiting = sorted(joins, key=lambda each: each[0])
    while waiting or decoding.sequences:
        while waiting and waiting[0][0] <= step:
            _, prompt = waiting.pop(0)
            for sequence in decoding.join(prompt):
                grown[sequence] = []
        for each in decoding.step():
            grown[each.sequence] += each.tokens
        step += 1
    return list(grown.values())


def test_greedy_answers_and_log_probabilities_are_those_of_transformers(tiny):
    found = answer(tiny, prompts(tiny, GREEDY))
    for text, (mine,) in zip(TEXTS, found, strict=True):
        expected = oracle.greedy(tiny.network, tiny.encode(text), end_tokens(tiny), 20)
        assert [token.id for token in mine.tokens] == [token for token, _ in expected]
        assert [token.log_probability for token in mine.tokens] == pytest.approx([v for _, v in expected], abs=1e-4)
        assert mine.finish is (Finish.LENGTH if len(expected) == 20 else Finish.STOP)
    assert {mine.finish for (mine,) in found} >= {Finish.LENGTH}


def test_log_probabilities_entropies_and_alternatives_are_of_the_distribution_before_temperature(tiny):
    sampling = Sampling(12, temperature=1.7, top_p=0.9, seed=3, alternatives=20)
    prompt = tiny.encode(TEXTS[1])
    ((mine,),) = answer(tiny, [Prompt(prompt, sampling)])
    ids = [token.id for token in mine.tokens]
    expected = token_log_probabilities(tiny.network, prompt + ids, len(prompt))
    assert [token.log_probability for token in mine.tokens] == pytest.approx(expected, abs=1e-4)
    logits = tiny.network(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(dim=1)
    for row, token in zip(logits, mine.tokens, strict=True):
        assert token.entropy == pytest.approx(float(-(row.exp() * row).sum()), abs=1e-4)
        best = row.topk(20)
        assert [each.id for each in token.alternatives] == best.indices.tolist()
        assert [each.log_probability for each in token.alternatives] == pytest.approx(best.values.tolist(), abs=1e-4)
        written = tiny.tokenizer.decode([token.id])
        assert token.content == written.encode() or "\ufffd" in written


def test_an_answer_does_not_depend_on_who_joins_and_leaves_meanwhile(tiny):
    samplings = [Sampling(9 + 7 * number, temperature=1.2, seed=number, alternatives=number) for number in range(3)]
    asked = prompts(tiny, *samplings)
    alone = [answer(tiny, [prompt])[0][0].tokens for prompt in asked]
    together = drive(Decoding(tiny, 10_000), [(5 * number % 11, prompt) for number, prompt in enumerate(asked)])
    order = sorted(range(len(asked)), key=lambda number: 5 * number % 11)
    for number, tokens in zip(order, together, strict=True):
        assert [token.id for token in tokens] == [token.id for token in alone[number]]
        assert [token.log_probability for token in tokens] == pytest.approx(
            [token.log_probability for token in alone[number]], abs=1e-4
        )


def test_answers_to_one_prompt_share_its_reading_and_differ_by_their_number(tiny, monkeypatch):
    sampling = Sampling(10, temperature=1.5, seed=1)
    prompt = Prompt(tiny.encode(TEXTS[0]), sampling, count=4)
    read = []
    forward = tiny.network.base_model.forward
    monkeypatch.setattr(
        tiny.network.base_model, "forward", lambda **given: read.append(given["input_ids"].shape) or forward(**given)
    )
    (four,) = answer(tiny, [prompt])
    assert [shape for shape in read if shape[1] > 1] == [(1, len(prompt.tokens))]
    texts = [each.text for each in four]
    assert len(set(texts)) > 1
    (one,) = answer(tiny, [Prompt(prompt.tokens, sampling)])[0]
    assert one.text == texts[0]


def test_a_long_prompt_is_read_in_parts_while_others_go_on(tiny, monkeypatch):
    monkeypatch.setattr("models.language.generation.decoding.BUDGET", 16)
    long = Prompt(tiny.encode("the sea is blue " * 12), GREEDY)
    decoding = Decoding(tiny, 2000)
    decoding.join(Prompt(tiny.encode("x"), Sampling(30, temperature=0)))
    decoding.step()
    (slow,) = decoding.join(long)
    steps = 0
    while not any(each.sequence is slow for each in decoding.step()):
        steps += 1
    assert steps == -(-len(long.tokens) // 16) - 1
    monkeypatch.undo()
    (alone,) = answer(tiny, [long])[0]
    rest = []
    while decoding.sequences:
        rest += [token.id for each in decoding.step() if each.sequence is slow for token in each.tokens]
    assert rest == [token.id for token in alone.tokens][-len(rest) :]


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_sequence_that_leaves_frees_its_room_and_disturbs_no_other(tiny, steps):
    stays = Prompt(tiny.encode(TEXTS[0]), GREEDY)
    decoding = Decoding(tiny, 160)
    gone = decoding.join(Prompt(tiny.encode(TEXTS[1]), Sampling(40, temperature=0), count=2))
    (kept,) = decoding.join(stays)
    tokens = []
    for number in range(40):
        if number == steps:
            assert not decoding.has_room(Prompt(stays.tokens, Sampling(40)))
            for sequence in (*gone, gone[0]):
                decoding.leave(sequence)
            assert decoding.has_room(Prompt(stays.tokens, Sampling(40)))
            assert decoding.sequences == 1
        tokens += [token.id for each in decoding.step() if each.sequence is kept for token in each.tokens]
    assert tokens == [token.id for token in answer(tiny, [stays])[0][0].tokens]


def test_the_caches_never_hold_more_than_the_budget(tiny):
    decoding = Decoding(tiny, 300)
    for number in range(30):
        prompt = Prompt(tiny.encode("sea " * (1 + number % 5)), Sampling(5 + 3 * (number % 7), seed=number))
        while not decoding.has_room(prompt):
            decoding.step()
        decoding.join(prompt)
        decoding.step()
        sizes = [layer.keys.shape for layer in decoding._rows._layers]
        assert all(rows * columns <= 300 for rows, _, columns, _ in sizes)
    with pytest.raises(ValueError, match="no room"):
        decoding.join(Prompt(tiny.encode("x"), Sampling(400)))


def test_all_prompts_are_answered_within_a_budget_for_few_of_them(tiny):
    asked = prompts(tiny, GREEDY)
    texts = [each.text for (each,) in answer(tiny, asked, budget=200)]
    assert texts == [each.text for (each,) in answer(tiny, asked)]


def test_an_answer_ends_with_the_context(tiny):
    tokens = tiny.encode("sea ")[:1] * (tiny.context - 3)
    ((found,),) = answer(tiny, [Prompt(tokens, Sampling(50, temperature=0))])
    assert (len(found.tokens), found.finish) == (3, Finish.LENGTH)


def test_stop_strings_end_an_answer_over_token_borders(tiny):
    prompt = tiny.encode(TEXTS[1])
    ((free,),) = answer(tiny, [Prompt(prompt, GREEDY)])
    text = free.text
    stop = text[len(text) // 2 - 2 : len(text) // 2 + 2]
    ((found,),) = answer(tiny, [Prompt(prompt, Sampling(20, temperature=0, stops=("never", stop)))])
    assert (found.text, found.finish) == (text[: text.index(stop)], Finish.STOP)
    assert [token.id for token in found.tokens] == [token.id for token in free.tokens][: len(found.tokens)]


@pytest.mark.parametrize(
    ("tokens", "count", "reason"),
    [
        ((), 1, "prompt is empty"),
        ((340,), 1, "outside 0..339"),
        ((5,) * 256, 1, "256 tokens, which leaves no room to answer: the model's context is 256"),
        ((340,) * 256, 1, "256 tokens, which leaves no room to answer"),
        ((5,) * 100, 8, "8 answers have room for 75 tokens each"),
    ],
)
def test_prompts_that_cannot_be_answered_are_refused(tiny, tokens, count, reason):
    with pytest.raises(DataError, match=reason):
        fitted(tiny, Prompt(tokens, GREEDY, count), budget=600)


def test_a_network_without_finite_probabilities_breaks_only_its_own_sequences():
    network = tiny_network()
    tokenizer = tiny_tokenizer()
    bad = tokenizer.encode("🌊")[0]
    model = CausalLM(network, tokenizer, torch.device("cpu"), "float32")
    network.requires_grad_(False)
    network.model.embed_tokens.weight = torch.nn.Parameter(network.model.embed_tokens.weight.clone())
    network.model.embed_tokens.weight.data[bad] = math.nan
    others = [Prompt((9, 8), GREEDY), Prompt(tuple(range(20, 40)), GREEDY)]
    broken, *whole = answer(model, [Prompt((bad,) * 10, GREEDY, count=2), *others])
    assert [(each.finish, each.tokens) for each in broken] == [(Finish.BROKEN, [])] * 2
    assert [each.text for (each,) in whole] == [each.text for (each,) in answer(model, others)]
    assert all(each.finish is not Finish.BROKEN for (each,) in whole)
