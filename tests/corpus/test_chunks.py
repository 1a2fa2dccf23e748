"""Chunking by characters, tokens, sentences and headings."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import GUIDE

from ragscale.corpus import By, Chunking
from ragscale.corpus.chunks import Cutter
from ragscale.corpus.splitters import sentences, split_sentences
from ragscale.corpus.tokens import TokenCounter
from ragscale.errors import InvalidInput, ModelFileError
from ragscale.weights import pinned

TEXT = st.text(st.sampled_from("aB.!? \n\t\u3000\"')🦆é1#`-"), max_size=200) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200
)
STORY = (
    'Dr. Smith went to Washington. He met Mr. Fox at noon! "Really?" she said. It cost 3.5 dollars, i.e. nothing.\n\n'
    "A new paragraph begins here. It ends here."
)


def cut(text: str, chunking: Chunking, title: str = "", markdown: bool = False) -> list[tuple[str, str]]:
    return list(Cutter(chunking).cut(text, title, markdown=markdown))


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of the default embedder."""
    if pinned.damage("embedder"):
        pytest.skip("the default embedder is not in the cache: ragscale model fetch")
    return pinned.path("embedder")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a tokenizer of single words that reads 10 tokens, two of them its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 10}))
    return folder


def test_defaults_depend_on_what_is_counted() -> None:
    assert (Chunking().size, Chunking().overlap) == (1000, 100)
    assert (Chunking(by="tokens").size, Chunking(by="tokens").overlap) == (250, 25)
    assert Chunking(50, 0, "sentences").overlap == 0
    for by in get_args(By):
        chunking = Chunking(by=by, rows=True)
        assert Chunking(**json.loads(json.dumps(asdict(chunking)))) == chunking
    assert str(Chunking(by="tokens", rows=True)) == "documents and rows by tokens, 250 tokens at most, 25 shared"


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1), (-5, None)])
def test_sizes_out_of_range(size: int, overlap: int | None) -> None:
    with pytest.raises(InvalidInput, match=f"chunk (size {size}|overlap {overlap})"):
        Chunking(size, overlap)


def test_unknown_way() -> None:
    with pytest.raises(InvalidInput, match=r"unknown chunking 'pages'.*headings"):
        Chunking(by="pages")  # type: ignore[arg-type]


def test_the_embedder_counts_unless_another_model_does() -> None:
    assert Chunking(by="tokens").counted_by("a/b").tokenizer == "a/b"
    assert Chunking(by="tokens", tokenizer="c/d").counted_by("a/b").tokenizer == "c/d"
    assert Chunking(by="tokens").counted_by(None).tokenizer == ""
    assert Chunking().counted_by("a/b").tokenizer == ""


@pytest.mark.parametrize("by", ["characters", "sentences", "headings"])
@given(text=TEXT, size=st.integers(3, 100), markdown=st.booleans())
@settings(max_examples=100)
def test_chunks_fit_and_hold_every_word(by: By, text: str, size: int, markdown: bool) -> None:
    text = text.replace("\r", "\n")
    found = cut(text, Chunking(size, 0, by), markdown=markdown)
    assert all(chunk.strip() and len(chunk) <= size for _, chunk in found)
    if by != "headings" or not markdown:
        rules = str.maketrans("", "", "-*_" if markdown else "")  # a chunk of a rule (---) alone says nothing
        assert "".join("".join(chunk.split()) for _, chunk in found).translate(rules) == "".join(
            text.translate(rules).split()
        )
        return
    for word in text.replace("#", " ").replace("-", " ").split():  # in some chunk, or in a path
        assert all(character in "".join(path + chunk for path, chunk in found) for character in word)


@given(TEXT)
@settings(max_examples=200)
def test_sentences_add_up_to_their_text(text: str) -> None:
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("\u5317\u4eac\u662f\u9996\u90fd\u3002\u4eba\u53e3\u591a\uff01\uff01\u4e0a\u6d77\u5927\u5417\uff1f", 3),
        (
            "\u300c\u884c\u304f\u3002\u300d\u3068\u805e\u3044\u305f\u3002\u306f\u3044\u3002",
            2,
        ),
        (
            "\u092f\u092e\u0941\u0928\u093e \u0939\u0948\u0964 \u0939\u0948\u0965 \u0939\u093e\u0901\u0964",
            3,
        ),
        ("\u0647\u0644 \u0647\u0630\u0627\u061f \u0646\u0639\u0645\u06d4 \u0644\u0627\u06d4", 3),
    ],
)
def test_sentences_of_other_scripts(text: str, count: int) -> None:
    """Behind a quotation a sentence goes on."""
    found = sentences(text)
    assert (len(found), "".join(found)) == (count, text)
    chunks = split_sentences(f"{text} " * 3, max(map(len, found)), 0)
    assert {chunk[-1] for chunk in chunks} <= {sentence.strip()[-1] for sentence in found}


def test_sentences_stay_whole() -> None:
    assert [s.strip() for s in sentences(STORY)][:3] == [
        "Dr. Smith went to Washington.",
        "He met Mr. Fox at noon!",
        '"Really?" she said.',
    ]
    found = split_sentences(STORY, 60, 0)
    assert found[0] == "Dr. Smith went to Washington. He met Mr. Fox at noon!"
    assert all(chunk[-1] in '.!?"' for chunk in found)
    with_overlap = split_sentences(STORY, 60, 30)
    assert with_overlap[1].startswith("He met Mr. Fox at noon!")


def test_a_sentence_longer_than_a_chunk_is_cut_between_words() -> None:
    found = split_sentences("Short one. " + "word " * 30 + "end. Next one.", 40, 0)
    assert all(len(chunk) <= 40 for chunk in found)
    assert " ".join(found).split() == ["Short", "one.", *["word"] * 30, "end.", "Next", "one."]


def test_headings_become_paths() -> None:
    assert cut(GUIDE, Chunking(by="headings"), markdown=True) == [
        ("", "intro"),
        ("Guide", "welcome"),
        ("Guide > Install", "run pip\n\n```\n# no heading\n```"),
        ("Guide > Use", "call it"),
    ]
    assert cut(GUIDE, Chunking(by="headings")) == [("", GUIDE.strip())]
    long = cut("# A\n\n" + "word " * 100, Chunking(100, 20, "headings"), markdown=True)
    assert len(long) > 4
    assert {path for path, _ in long} == {"A"}


def test_overlap_repeats_the_end_of_the_chunk_before() -> None:
    found = [chunk for _, chunk in cut(" ".join(f"w{n}" for n in range(200)), Chunking(50, 20))]
    for before, after in pairwise(found):
        assert after.split()[0] in before.split()[1:]
        assert set(after.split()) - set(before.split())


def words(start: int, stop: int) -> str:
    return " ".join(f"w{n:02}" for n in range(start, stop))


def test_overlap_by_tokens(tiny: Path) -> None:
    """Three tokens of the chunk before; the title is taken off the size, and is no part of what is shared."""

    def found(text: str, overlap: int, title: str = "") -> list[str]:
        return [chunk for _, chunk in cut(text, Chunking(8, overlap, "tokens", tokenizer=str(tiny)), title)]

    assert found(words(0, 20), 3) == [words(0, 8), words(5, 13), words(10, 18), words(15, 20)]
    assert found(words(0, 20), 0) == [words(0, 8), words(8, 16), words(16, 20)]
    assert found(words(0, 12), 3, "a b c") == [words(0, 5), words(2, 7), words(4, 9), words(6, 11), words(8, 12)]


@pytest.mark.parametrize(
    ("size", "overlap", "expected"),
    [
        (30, 15, ["cat dog", "dog cow", "cow pig", "pig hen"]),
        (30, 12, ["cat dog", "cow pig", "hen"]),  # no whole sentence fits into the overlap
        (40, 27, ["cat dog cow", "dog cow pig", "cow pig hen"]),
    ],
)
def test_overlap_by_sentences(size: int, overlap: int, expected: list[str]) -> None:
    def told(names: str) -> str:
        return " ".join(f"The {name} sat." for name in names.split())

    found = cut(told("cat dog cow pig hen"), Chunking(size, overlap, "sentences"))
    assert [chunk for _, chunk in found] == [told(names) for names in expected]


def test_overlap_by_headings() -> None:
    """Within a long section as by characters; no section repeats another."""
    text = f"# A\n\n{words(0, 20)}\n\n## B\n\n{words(20, 26)}\n\n# C\n\n{words(30, 45)}\n"
    assert cut(text, Chunking(40, 12, "headings"), markdown=True) == [
        ("A", words(0, 10)),
        ("A", words(7, 17)),
        ("A", words(14, 20)),
        ("A > B", words(20, 26)),
        ("C", words(30, 40)),
        ("C", words(37, 45)),
    ]


def test_tokens_are_counted_with_the_title(tiny: Path) -> None:
    text = " ".join(f"w{n}" for n in range(40))
    count = TokenCounter(str(tiny))
    assert count(text) == 40
    for title, size in [("", 8), ("a b c", 5), ("a b c d e f g h i j", 4)]:
        found = [chunk for _, chunk in cut(text, Chunking(8, 0, "tokens", tokenizer=str(tiny)), title)]
        assert " ".join(found) == text
        assert max(map(count, found)) == size


def test_tokens_beyond_the_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"chunk size 9 tokens, the model .* reads 8 \(10 less 2 of its own\)"):
        Cutter(Chunking(9, 0, "tokens", tokenizer=str(tiny)))
    with pytest.raises(ModelFileError, match=r"no tokenizer\.json"):
        Cutter(Chunking(9, 0, "tokens", tokenizer=str(tmp_path)))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelFileError, match="not a tokenizer"):
        Cutter(Chunking(9, 0, "tokens", tokenizer=str(tmp_path)))


def test_a_tokenizer_that_the_hub_does_not_deliver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFileError, match="tokenizer 'nobody/nothing-at-all': no such folder"):
        TokenCounter("nobody/nothing-at-all")


def test_no_chunk_is_cut_off_by_the_default_embedder(minilm: Path) -> None:
    from transformers import AutoTokenizer

    rest = "Zażółć gęślą jaźń 🦆, pneumonoultramicroscopicsilicovolcanoconiosis 12,345.67! "
    text = "\n\n".join((STORY + rest) * n for n in (1, 2, 10))
    found = [chunk for _, chunk in cut(text, Chunking(by="tokens"), "A title of some words")]
    tokenizer = AutoTokenizer.from_pretrained(str(minilm))
    lengths = [len(tokenizer(f"A title of some words\n{chunk}")["input_ids"]) for chunk in found]
    assert 128 < max(lengths) <= 256
    with pytest.raises(InvalidInput, match="chunk size 255 tokens, the model default reads 254"):
        Cutter(Chunking(255, 0, "tokens"))


def rows(count: int) -> str:
    return "| Metal | Year |\n|---|---|\n" + "".join(f"| metal{n} | {1700 + n} |\n" for n in range(count))


@pytest.mark.parametrize("by", ["characters", "sentences", "headings"])
def test_each_chunk_of_a_table_begins_with_its_header(by: By) -> None:
    text = f"# Metals\n\nSome words.\n\n## List\n\n{rows(30)}\nWords behind it."
    found = [chunk for _, chunk in cut(text, Chunking(120, 20, by), markdown=True)]
    assert all(len(chunk) <= 120 for chunk in found)
    tables = [chunk for chunk in found if "metal" in chunk]
    assert len(tables) > 4
    assert tables[0].startswith("| Metal | Year |" if by == "headings" else "## List\n\n| Metal | Year |")
    assert all(chunk.startswith("| Metal | Year |\n|---|---|\n| metal") for chunk in tables[1:])
    lines = [line for chunk in tables for line in chunk.split("\n") if line.startswith("| metal")]
    assert lines == [f"| metal{n} | {1700 + n} |" for n in range(30)]
    assert found[0].endswith("Some words.")
    assert found[-1] == "Words behind it."


def test_tables_by_tokens(tiny: Path) -> None:
    head = "| k | v |\n| --- | --- |\n"
    count = TokenCounter(str(tiny))
    size = 3 * count(head)
    (tiny / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 2 * size}))
    chunking = Chunking(size, 0, "tokens", tokenizer=str(tiny))
    found = [chunk for _, chunk in cut("a b.\n\n" + head + "| x | y |\n" * 20, chunking, markdown=True)]
    assert found[0] == "a b."
    assert len(found) > 4
    assert all(chunk.startswith(head) and size - 6 < count(chunk) <= size for chunk in found[1:-1])


def test_a_small_table_stays_whole() -> None:
    text = f"{words(0, 12)}\n\n{rows(2)}\n{words(20, 30)}"
    found = [chunk for _, chunk in cut(text, Chunking(90, 0), markdown=True)]
    assert found == [words(0, 12), rows(2).strip(), words(20, 30)]


def test_a_row_longer_than_a_chunk_keeps_the_header() -> None:
    found = [chunk for _, chunk in cut(f"| k | v |\n|---|---|\n| a | {words(0, 40)} |", Chunking(80, 0), markdown=True)]
    assert len(found) > 2
    assert all(chunk.startswith("| k | v |\n|---|---|\n") and len(chunk) <= 80 for chunk in found)
    assert [word for chunk in found for word in chunk.split() if word.startswith("w")] == words(0, 40).split()


def test_rows_of_very_wide_tables_name_each_value() -> None:
    """The header alone would fill a chunk."""
    names, values = ([f"{kind}{n}" for n in range(20)] for kind in ("column", "v"))
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * 20, values))
    found = [chunk for _, chunk in cut(text, Chunking(100, 0), markdown=True)]
    assert all(chunk.startswith("column0: v0; column") and len(chunk) <= 100 for chunk in found)
    pairs = dict(pair.split(": ") for chunk in found for pair in chunk.split("; "))
    assert pairs == dict(zip(names, values, strict=True))


def test_a_first_row_of_sentences_names_no_values() -> None:
    """Its rows were chunks such as "May I return it?: Is there a warranty?"."""
    answers = [words(0, 30), words(30, 40)]
    text = f"| May I return it? | {answers[0]} |\n|---|---|\n| Is there a warranty? | {answers[1]} |"
    found = [chunk for _, chunk in cut(text, Chunking(160, 0), markdown=True)]
    assert found[0].startswith("| May I return it? | w00 ")
    assert not any("?: " in chunk for chunk in found)
    assert [word for chunk in found for word in chunk.split() if word[1:].isdigit()] == " ".join(answers).split()


@pytest.mark.parametrize("by", ["characters", "sentences", "headings"])
@pytest.mark.parametrize("heading", ["## Model A", "Model A\n-------", "# Pumps\n\n## Model A"])
@pytest.mark.parametrize(
    "body", ["It is rated for water. " * 20, "- item\n" * 40, rows(20), "```\ncode\n" + "more code\n" * 20 + "```"]
)
def test_a_heading_is_in_no_chunk_alone(by: By, heading: str, body: str) -> None:
    text = f"{words(0, 30)}\n\n{heading}\n\n{body}\n\n## End\n"
    found = [chunk for _, chunk in cut(text, Chunking(150, 15, by), markdown=True)]
    for chunk in found:
        rest = chunk.replace(heading, "").replace("## End", "").strip()
        assert rest, chunk
    if by != "headings":
        (first,) = [chunk for chunk in found if "Model A" in chunk]
        assert first.startswith(heading)
    assert found[-1].endswith("## End")


def test_sentences_below_a_heading_stay_whole() -> None:
    found = [chunk for _, chunk in cut(f"# Head\n\n{STORY}", Chunking(70, 0, "sentences"), markdown=True)]
    assert found[0] == "# Head\n\nDr. Smith went to Washington. He met Mr. Fox at noon!"
    assert all(chunk[-1] in '.!?"' for chunk in found)
