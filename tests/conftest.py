"""Test doubles of some test folders for every test folder; models made on the spot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from fake_kinds import Fakes

MakeModel = Callable[..., Path]

for folder in ("modes", "measure", "llm", "campaign", "kills"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
pytest.register_assert_rewrite("conformance", "doubles")
# A busy machine is no failure; and a commit passes or not, whoever tries it: `HYPOTHESIS_PROFILE=explore pytest` draws
# other examples each time, and what it finds becomes one of a test.
settings.register_profile("ragscale", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ragscale"))
os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's own 15, its workers starve beside the other tests


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """A worker more than cores: tests wait for processes and servers about as long as they compute."""
    return (yield) + ("PYTEST_XDIST_AUTO_NUM_WORKERS" not in os.environ)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a binary parameter by its argument: gzip writes the time, and every worker must collect the same names."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture(scope="module")
def fakes() -> Iterator[Fakes]:
    """Fake model servers of any kind; calls to them are repeated without a wait."""
    from campaign import impatient
    from fake_kinds import Fakes

    with Fakes() as served, impatient():
        yield served


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Makes a sentence-transformers model: random weights by a seed, letters for tokens; its vectors mean nothing."""

    def make(seed: int = 0, *, hidden: int = 32, prompts: dict[str, str] | None = None) -> Path:
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from transformers import BertConfig, BertModel, BertTokenizerFast

        folder = tmp_path_factory.mktemp("model")
        letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:"
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
        (folder / "vocab.txt").write_text("\n".join(tokens))
        torch.manual_seed(seed)
        config: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        BertModel(BertConfig(vocab_size=len(tokens), hidden_size=hidden, **config)).save_pretrained(folder / "bert")
        BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
        transformer = Transformer(str(folder / "bert"), max_seq_length=64)
        model = SentenceTransformer(modules=[transformer, Pooling(hidden)], prompts=prompts, device="cpu")
        model.save(str(folder / "model"))
        return folder / "model"

    return make


@pytest.fixture(scope="session")
def make_reranker(make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Makes a cross-encoder of random weights by a seed."""

    def make(seed: int = 0, *, labels: int = 1) -> Path:
        import torch
        from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

        folder = tmp_path_factory.mktemp("reranker")
        tokenizer = AutoTokenizer.from_pretrained(make_model(seed))
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            num_labels=labels, initializer_range=0.5,
        )  # fmt: skip
        BertForSequenceClassification(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
