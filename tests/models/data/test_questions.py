"""Questions in both forms; rows that cannot be asked, or that would leak, are named with the reason."""

import json

import pytest

from models.core.errors import DataError
from models.data.limits import DataLimits
from models.data.open_dataset import open_dataset
from models.data.questions import MOST_CHOICES, MOST_LETTERS
from models.language.continuations import MOST_CHOICES as MOST_ASKED
from models.language.multiple_choice import letters
from tests.fixtures.questions import jsonl, lettered_rows, prompt_rows

GOOD = {"prompt": "The sea is", "choices": [" blue", " dry"], "answer": 0}


@pytest.fixture
def opened(tmp_path):
    def opened(*rows, limits=None):
        (tmp_path / "q.jsonl").write_bytes(jsonl(rows))
        return open_dataset(tmp_path / "q.jsonl", limits=limits)

    return opened


def test_prompts_are_kept_as_they_are(opened):
    data = opened(*prompt_rows(4))
    assert (data.kind, data.lettered, data.rows, data.tasks()) == ("questions", False, 4, {})
    assert data.labels == {"row 1": 0, "row 2": 1, "row 3": 1, "row 4": 0}
    second, first = data.questions(("row 2", "row 1"))
    assert (first.choices, second.choices) == ((" yellow", " blue"), (" yellow", " blue", " the sea"))
    assert second.text == "The sea is blue, says number 1. The sand is"


def test_questions_without_letters_have_a_task_by_either_name(opened):
    rows = lettered_rows(3)
    rows[1] = {**rows[1], "answer": "blue", "task": "colours"}
    data = opened(*rows)
    assert data.lettered
    assert [question.subject for question in data.questions(data.names)] == ["the sea", "the sand", "the sea"]
    assert data.tasks() == {"colours": 1, "the sea": 2}
    assert data.inspect().labels == {"0": 2, "2": 1}
    rest = data.without({"row 1"})
    assert (rest.tasks(), rest.names) == ({"colours": 1, "the sea": 1}, ("row 2", "row 3"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"answer": None}, "`answer` must be"),
        ({"answer": True}, "`answer` must be"),
        ({"answer": 2}, "answer 2, but places 0 to 1"),
        ({"answer": -1}, "answer -1"),
        ({"answer": "blue"}, "its answer 'blue' is none of its choices"),
        ({"choices": [" blue"]}, "1 choices; give 2 to 64"),
        ({"choices": [f" {number}" for number in range(65)]}, "65 choices"),
        ({"choices": [" blue", " blue"]}, "a choice is given twice"),
        ({"choices": [" blue", ""]}, "a choice is empty"),
        ({"choices": [" blue", 3]}, "`choices` must be a list of texts"),
        ({"choices": " blue"}, "`choices` must be a list of texts"),
        ({"choices": [" blue", "\ud800"]}, "`choices` must be a list of texts"),
        ({"prompt": "  "}, "`prompt` must be a text"),
        ({"prompt": "\udc00"}, "`prompt` must be a text"),
        ({"question": "What is blue?"}, "give either `prompt`"),
        ({"task": "a\nb"}, "its task must be"),
        ({"task": 7}, "its task must be"),
        ({"task": "seas", "subject": ""}, "its subject must be"),
        ({"choices": [" dry", " blue", " wet"]}, None),
        ({"answer": 1}, "the same as row 1"),
        ({"choices": [" dry", " blue"]}, "the same as row 1"),
        ({"prompt": " The  sea\nis "}, "the same as row 1"),
    ],
)
def test_a_row_that_cannot_be_asked(opened, changed, reason):
    found = opened(GOOD, {**GOOD, **changed}).inspect()
    assert (found.rows, found.good) == (2, 1 if reason else 2)
    if reason:
        ((row, why),) = found.bad
        assert row == "row 2"
        assert reason in why


def test_more_choices_than_letters(opened):
    many = {"question": "Which?", "choices": [str(number) for number in range(27)], "answer": 0}
    assert opened(lettered_rows(1)[0], many).inspect().bad == (("row 2", "27 choices; give 2 to 26"),)
    assert MOST_CHOICES == MOST_ASKED
    assert len(letters(MOST_LETTERS)) == MOST_LETTERS


def test_the_two_forms_are_not_mixed(opened):
    ((row, why),) = opened(GOOD, *lettered_rows(1)).inspect().bad
    assert row == "row 2"
    assert "`question`, but the rows before it `prompt` with `choices`" in why


def test_a_completion_is_the_one_answer_of_its_row(opened):
    row = {"prompt": "The sea is", "completion": " blue.", "task": "seas"}
    data = opened(row, {**row, "answer": 7}, {**row, "completion": " "}, {**GOOD, "completion": " dry"})
    assert (data.kind, data.names, data.tasks()) == ("completions", ("row 1",), {"seas": 1})
    (question,) = data.questions(data.names)
    assert (question.text, question.choices[question.answer]) == ("The sea is", " blue.")
    assert [why for _, why in data.findings] == [
        "the same as row 1",
        "`completion` must be a text that is not empty",
        "has `prompt` with `choices`, but the rows before it `prompt` with `completion`: upload them as two files",
    ]


def test_the_first_object_tells_questions_from_outputs(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"no json\n" + jsonl([GOOD]) + b'{"label": 1, "logits": [1, 2]}\n')
    data = open_dataset(path)
    assert (data.kind, data.findings.count) == ("questions", 2)
    path.write_text(json.dumps({"label": 1, "logits": [1, 2], "choices": [" a", " b"]}))
    assert open_dataset(path).kind == "outputs"


def test_a_first_row_without_choices_is_one_finding(opened):
    data = opened({"prompt": "The sea is", "answer": 0}, GOOD)
    assert tuple(data.findings) == (("row 1", "`choices` must be a list of texts"),)
    assert data.names == ("row 2",)
    with pytest.raises(DataError, match="no usable row: row 1: `choices` must be a list"):
        opened({"question": "What is blue?", "answer": 0})


def test_limits_and_nothing_to_ask(opened):
    with pytest.raises(DataError, match="more than 3 rows"):
        opened(*prompt_rows(4), limits=DataLimits(rows=3))
    with pytest.raises(DataError, match=r"no usable row: row 1: answer 9"):
        opened({**GOOD, "answer": 9})
