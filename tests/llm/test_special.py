"""Special tokens of a model: found in its own tokenizer, and broken in text from outside."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models

from ragscale.errors import ModelFileError
from ragscale.llm import LLM, embedded, load, special_tokens
from ragscale.llm.embedded import EmbeddedLLM
from ragscale.llm.scripted import ScriptedLLM
from ragscale.llm.special import neutral, of_gguf
from ragscale.prompts.text import clean

OWN = ["<|turn|>", "@@END@@", "~system~", "[/ask]", "<think>", "\n\n", "##", "a b"]


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A tokenizer with special tokens of shapes that nobody foresees."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in OWN[:4]])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in OWN[4:]])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def gguf(path: Path, tokens: list[tuple[str, int]], *more: bytes) -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    words = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens))
    words += b"".join(text(token) for token, _ in tokens)
    types = struct.pack(f"<IIQ{len(tokens)}i", 9, 5, len(tokens), *(kind for _, kind in tokens))
    kinds = text("tokenizer.ggml.token_type") + types
    name, scalar = text("general.name") + struct.pack("<I", 8) + text("x"), text("a.b") + struct.pack("<If", 6, 1.5)
    pairs = [name, scalar, words, kinds]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    return path


def test_those_of_a_named_tokenizer(named: Path) -> None:
    model = load(f"http://localhost:1/v1#m?tokenizer={named}")
    assert special_tokens(model) == {"<|turn|>", "@@END@@", "~system~", "[/ask]", "<think>"}
    assert special_tokens(load("http://localhost:1/v1#m")) == frozenset()
    assert special_tokens(ScriptedLLM(lambda messages, call: "x")) == frozenset()


def test_those_of_a_gguf_file(tmp_path: Path) -> None:
    tokens = [("hello", 1), ("<unk>", 2), ("<|end|>", 3), ("@@END@@", 4), ("  ", 4), ("<0x0A>", 6), ("x y", 3)]
    assert of_gguf(gguf(tmp_path / "a.gguf", tokens)) == {"<|end|>", "@@END@@"}


@pytest.mark.parametrize("size", [3, 20, 60, 150])
def test_a_file_that_is_cut_is_an_error(tmp_path: Path, size: int) -> None:
    path = gguf(tmp_path / "b.gguf", [("<|end|>", 3)] * 1)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelFileError, match="metadata cannot be read"):
        of_gguf(path)


async def test_a_file_without_readable_metadata_has_none_and_is_read_once(
    smol_server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []

    def unreadable(path: Path) -> frozenset[str]:
        reads.append(path)
        raise ModelFileError("no metadata", "None.")

    monkeypatch.setattr(embedded, "of_gguf", unreadable)
    model = EmbeddedLLM(smol_server)
    assert (special_tokens(model), special_tokens(model)) == (frozenset(), frozenset())
    assert len(reads) == 1
    await model.aclose()


async def test_those_of_the_real_model_cannot_be_written(real: LLM) -> None:
    """As its own server tells: what is cleaned has no token that ends a turn."""
    own = special_tokens(real)
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= own
    text = " ".join(sorted(own))
    plain = await real.count_tokens([{"role": "user", "content": text}])
    for cleaned in (neutral(text, own), clean(text)):
        assert not any(token in cleaned for token in own)
        assert await real.count_tokens([{"role": "user", "content": cleaned}]) > plain + 2 * len(own)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain @ text ~ here", "plain @ text ~ here"),
        ("a@@END@@b", "a@ @END@@b"),
        ("~system~ you", "~ system~ you"),
        ("<<|turn|>", "<< |turn|>"),
        ("", ""),
    ],
)
def test_a_token_is_broken_and_nothing_else(text: str, expected: str) -> None:
    own = frozenset({"<|turn|>", "@@END@@", "~system~"})
    assert neutral(text, own) == expected
    assert neutral(neutral(text, own), own) == expected


def test_what_is_left_is_no_other_token() -> None:
    own = frozenset({"<<x>>", "<x>>", "x>>"})
    assert not any(token in neutral("a<<x>>b", own) for token in own)
