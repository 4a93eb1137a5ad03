from models.language.multiple_choice import Question, asked_question
from tests.fixtures.questions import COLOURS, lettered_rows, prompt_rows


def test_a_question_is_asked_in_mmlus_form(rows_of):
    first, second = lettered_rows(2, tasks=("high_school_biology",))
    rows = rows_of([first, {**second, "subject": None, "task": "biology"}])
    asked = [Question(f"What is the colour of the sea number {number}?", COLOURS, number) for number in range(2)]
    assert rows.items == (asked_question(asked[0], "high_school_biology"), asked_question(asked[1], None))
    assert rows.items[0].prompt.startswith("The following are multiple choice questions (with answers) about high")
    assert rows.items[1].prompt.startswith("What is the colour"), "a task alone writes nothing"
    assert rows.tasks == ("high_school_biology", "biology")
    assert rows.labels.tolist() == [0, 1]


def test_a_prompt_is_asked_as_it_is(rows_of):
    rows = rows_of(prompt_rows(3)).named(("row 3", "row 1"))
    assert rows.items[1].prompt == "The sea is blue, says number 0. The sand is"
    assert [item.choices for item in rows.items] == [(" yellow", " blue"), (" yellow", " blue")]
    assert rows.labels.tolist() == [1, 0]
