import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core.errors import UnsupportedError
from models.language.generation.text_stream import TextStream
from models.language.generation.token import Token
from models.language.generation.token_bytes import token_bytes
from tests.models.language.tiny_model import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
CONTENT = token_bytes(TOKENIZER)
ids = st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=30)
texts = st.lists(st.sampled_from(["sea", "🌊", "é", "海", " ", "the ", "ab", "\n"]), max_size=12).map("".join)


def stream(tokens, stops=()):
    """Pieces of text as they come, and whether a stop string ended them."""
    text, pieces = TextStream(stops), []
    for token in tokens:
        released, stopped = text.push(Token(token, CONTENT.of(token), 0.0, 0.0, 0.0), CONTENT.in_text(token))
        pieces.append("".join(each.text for each in released))
        if stopped:
            return pieces, True
    pieces.append("".join(each.text for each in text.finish()))
    return pieces, False


@settings(deadline=None)
@given(ids)
def test_any_tokens_give_the_text_of_the_tokenizer_s_own_decoding(tokens):
    pieces, stopped = stream(tokens)
    expected = TOKENIZER.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert ("".join(pieces), stopped) == (expected, False)


@settings(deadline=None)
@given(texts, st.lists(st.sampled_from(["sea", "e s", "a🌊", "海", "🌊é", "ab\n", "x"]), max_size=3))
def test_text_ends_before_the_first_stop_string_and_never_within_a_character(text, stops):
    pieces, stopped = stream(TOKENIZER.encode(text, add_special_tokens=False), stops)
    first = min([place for stop in stops if (place := text.find(stop)) >= 0], default=None)
    assert ("".join(pieces), stopped) == (text[:first], first is not None)
    assert "\ufffd" not in "".join(pieces)


def test_text_that_cannot_begin_a_stop_string_is_not_held_back():
    text = TextStream(["END", "\n\n"])
    pieces = []
    for word in ("now ", "E", "NO", " E", "N", "D"):
        released, stopped = text.push(Token(0, b"", 0.0, 0.0, 0.0), word.encode())
        pieces.append([each.text for each in released])
    assert pieces == [["now "], [], ["E", "NO"], [], [], [" "]]
    assert stopped


def test_half_a_character_at_the_end_and_before_a_stop_string_is_shown_as_such():
    for stops in ((), ("E",)):
        text = TextStream(stops)
        text.push(Token(0, b"", 0.0, 0.0, 0.0), b"a\xf0\x9f")
        found = text.push(Token(1, b"", 0.0, 0.0, 0.0), b"E")[0] if stops else text.finish()
        assert [each.text for each in found] == ["a\ufffd"]


def test_special_tokens_have_bytes_but_are_no_part_of_the_text():
    (end,) = TOKENIZER.encode("</s>", add_special_tokens=False)
    assert (CONTENT.of(end), CONTENT.in_text(end)) == (b"</s>", b"")
    assert CONTENT.of(len(TOKENIZER) + 5) == b""
    assert stream([end, *TOKENIZER.encode("sea"), end])[0][-1] == ""


def test_a_tokenizer_that_is_not_byte_level_is_refused():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"▁sea": 0, "?": 1}, unk_token="?")))
    with pytest.raises(UnsupportedError, match="byte-level tokenizers only"):
        token_bytes(made)
