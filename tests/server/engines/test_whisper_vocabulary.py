"""A client's words are words to the model, whatever they look like."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from server.engines.whisper_vocabulary import MOST_CONTEXT_TOKENS, open_vocabulary
from server.recognition import ModelError

SPECIAL = [
    "<|startoftranscript|>",
    "<|startofprev|>",
    "<|transcribe|>",
    "<|en|>",
    "<|de|>",
    "<|notimestamps|>",
]
WORDS = ["?", "hello", "Braun"]


def tokenizer_json(special=SPECIAL) -> memoryview:
    words = {word: at for at, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=WORDS[0]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return memoryview(tokenizer.to_str().encode())


@pytest.fixture(params=[False, True], ids=["english", "multilingual"])
def vocabulary(request):
    return open_vocabulary(tokenizer_json(), is_multilingual=request.param)


def number(token: str) -> int:
    return len(WORDS) + SPECIAL.index(token)


def test_a_context_stands_behind_the_mark_of_what_came_before(vocabulary):
    assert vocabulary.context_tokens(" hello \n Braun ") == [number("<|startofprev|>"), 1, 2]


@pytest.mark.parametrize("context", [None, "", " \n\t "])
def test_no_context_is_no_token(vocabulary, context):
    assert vocabulary.context_tokens(context) == []


def test_of_a_long_context_the_end_is_kept(vocabulary):
    tokens = vocabulary.context_tokens("hello " * 500 + "Braun")
    assert len(tokens) == 1 + MOST_CONTEXT_TOKENS
    assert tokens[-2:] == [1, 2]


@pytest.mark.parametrize("token", SPECIAL)
def test_what_looks_like_a_command_in_a_context_is_text(vocabulary, token):
    assert vocabulary.context_tokens(f"hello {token}") == [number("<|startofprev|>"), 1, 0]


def test_an_english_model_is_not_told_its_language():
    english = open_vocabulary(tokenizer_json(), is_multilingual=False)
    assert english.prompt("en") == [number("<|startoftranscript|>"), number("<|notimestamps|>")]
    assert set(english.languages) == {"en"}


def test_a_multilingual_model_is_told_language_and_task():
    vocabulary = open_vocabulary(tokenizer_json(), is_multilingual=True)
    assert set(vocabulary.languages) == {"en", "de"}
    assert vocabulary.prompt("de") == [
        number(token)
        for token in ("<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>")
    ]


@pytest.mark.parametrize("missing", [SPECIAL[0], SPECIAL[1], SPECIAL[-1]])
def test_a_tokenizer_without_the_marks_is_refused(missing):
    left = [token for token in SPECIAL if token != missing]
    with pytest.raises(ModelError):
        open_vocabulary(tokenizer_json(left), is_multilingual=False)


@pytest.mark.parametrize("content", [b"", b"{}", b"secret", json.dumps([1]).encode()])
def test_what_is_no_tokenizer_is_refused(content):
    with pytest.raises(ModelError) as refused:
        open_vocabulary(memoryview(content), is_multilingual=False)
    assert "secret" not in str(refused.value)
