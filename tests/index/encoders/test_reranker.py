"""Reranking with a cross-encoder that is made on the spot: its scores mean nothing, its order is exact."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ragscale.errors import InvalidInput, ModelFileError
from ragscale.index import Index
from ragscale.index.encoders.reranker import Reranker
from ragscale.index.storage.passages import full_text
from ragscale.types import Hit

QUERIES = ["Where was Marie Curie born?", "capital river", "two passages that say the same"]


@pytest.fixture(scope="session")
def reranker(make_reranker: Callable[..., Path]) -> Path:
    return make_reranker()


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def scored(reranker: Path, query: str, hits: Sequence[Hit]) -> list[float]:
    """Scores by the library itself, pair by pair."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(reranker), device="cpu", local_files_only=True)
    pairs = [(query, full_text(hit.passage)) for hit in hits]
    return [float(model.predict([pair], activation_fn=torch.nn.Identity())[0]) for pair in pairs]


@pytest.mark.parametrize("how", ["dense", "bm25", "hybrid"])
def test_hits_are_in_the_order_of_the_model(dense: Index, reranker: Path, how: str) -> None:
    plain = dense.search(QUERIES, k=50, how=how)  # type: ignore[arg-type]
    found = dense.search(QUERIES, k=3, how=how, rerank=reranker)  # type: ignore[arg-type]
    for query, candidates, hits in zip(QUERIES, plain, found, strict=True):
        scores = scored(reranker, query, candidates)
        assert len(set(np.round(scores, 3))) > len(scores) / 2  # the order is not that of the candidates by chance
        best = sorted(zip(candidates, scores, strict=True), key=lambda pair: -round(pair[1], 5))[:3]
        assert ids(hits) == [hit.passage.id for hit, _ in best]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in best], abs=2e-5)


def test_only_the_candidates_are_reranked(dense: Index, reranker: Path) -> None:
    for query in QUERIES:
        shallow = dense.search([query], k=2, how="dense", rerank=reranker, depth=4)[0]
        assert set(ids(shallow)) <= set(ids(dense.search([query], k=4, how="dense")[0]))
        assert ids(shallow) == ids(dense.search([query], k=4, how="dense", rerank=reranker, depth=1)[0])[:2]


def test_equal_passages_keep_their_order(dense: Index, reranker: Path) -> None:
    found = dense.search([QUERIES[2]], k=12, how="dense", rerank=reranker)[0]
    twins = [hit for hit in found if hit.passage.id.startswith("twin")]
    assert ids(twins) == ["twin-1", "twin-2"]
    assert twins[0].score == twins[1].score


def test_what_waits_together_is_one_call_of_the_model(
    dense: Index, reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [dense.search([query], k=5, rerank=reranker)[0] for query in QUERIES]
    calls: list[int] = []
    busy, go = threading.Event(), threading.Event()
    original = Reranker.scores

    def slow(self: Reranker, pairs: Sequence[tuple[str, str]], **options: int) -> list[float]:
        calls.append(len(pairs))
        busy.set()
        assert go.wait(30)
        return original(self, pairs, **options)

    monkeypatch.setattr(Reranker, "scores", slow)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(dense.search, ["warm"], 1, rerank=reranker)
        assert busy.wait(30)
        later = [pool.submit(dense.search, [query], 5, rerank=reranker) for query in QUERIES * 2]
        while dense._broker._queue.qsize() < 6:
            threading.Event().wait(0.001)
        go.set()
        assert first.result(30)
        found = [future.result(30)[0] for future in later]
    assert len(calls) == 2
    for one, other in zip(alone * 2, found, strict=True):
        assert ids(one) == ids(other)


def test_rerankers_of_one_batch_do_not_mix(dense: Index, reranker: Path, make_reranker: Callable[..., Path]) -> None:
    other = make_reranker(7)
    alone = [dense.search(QUERIES, k=4, rerank=name) for name in (reranker, other, None)]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(dense.search, QUERIES, 4, rerank=name) for name in (reranker, other, None) * 2]
        found = [job.result(60) for job in jobs]
    for one, two in zip(alone * 2, found, strict=True):
        assert [ids(hits) for hits in one] == [ids(hits) for hits in two]


def test_models_that_cannot_rerank(
    dense: Index, make_reranker: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="gives 3 scores a pair"):
        dense.search(["x"], rerank=make_reranker(labels=3))
    with pytest.raises(ModelFileError, match="no such model folder"):
        dense.search(["x"], rerank=tmp_path / "absent")
    with pytest.raises(ModelFileError, match=r"no \.safetensors weights"):
        dense.search(["x"], rerank=tmp_path)
    assert dense.search(["Paris"], k=1)[0]  # the broker goes on


def test_a_model_without_a_head_of_its_own_is_no_reranker(
    dense: Index, model: Path, reranker: Path, tmp_path: Path
) -> None:
    """transformers draws a head at random where the files hold none, at each load another one."""
    from transformers import BertModel

    bare = shutil.copytree(reranker, tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    BertModel.from_pretrained(reranker).save_pretrained(bare)
    for folder in (model, bare):
        with pytest.raises(InvalidInput, match=r"has no weights for classifier\.bias, classifier\.weight") as caught:
            dense.search(["x"], rerank=folder)
        assert str(folder) in caught.value.problem
        assert "cross-encoder" in caught.value.remedy


def test_weights_under_other_names_are_found(dense: Index, reranker: Path, tmp_path: Path) -> None:
    """As sentence-transformers saves a cross-encoder, and with the names of layer norms in old files."""
    from safetensors.torch import load_file, save_file
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(reranker), device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "saved"))
    old = shutil.copytree(reranker, tmp_path / "old")
    weights = load_file(old / "model.safetensors")
    renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in weights.items()}
    assert renamed.keys() != weights.keys()
    (old / "model.safetensors").unlink()
    save_file(renamed, old / "model.safetensors", {"format": "pt"})
    wanted = dense.search(QUERIES, k=5, rerank=reranker)
    for folder in (tmp_path / "saved", old):
        assert dense.search(QUERIES, k=5, rerank=folder) == wanted


def test_a_hub_model_is_known_by_its_commit(dense: Index, reranker: Path, hub: Callable[[Path], list[object]]) -> None:
    asked = hub(reranker)
    assert dense.reranker_revision("some/model") == "c" * 40
    for name in ("some/reranker", "some/reranker"):  # fetched once, then it is loaded
        found = dense.search(QUERIES, k=5, rerank=name)
        assert found == dense.search(QUERIES, k=5, rerank=reranker)
    assert asked == [("some/model", None, True), ("some/reranker", None, True)]


def test_views_are_told_apart_by_the_weights_of_their_reranker(
    dense: Index, make_reranker: Callable[..., Path], tmp_path: Path
) -> None:
    """A run of `eval` is pinned to the fingerprint: other weights in the same folder must not go on with it."""
    weights = "model.safetensors"
    folder = shutil.copytree(make_reranker(), tmp_path / "reranker")
    view = dense.searching(rerank=folder)
    before, hits = view.fingerprint, view.search(QUERIES, 3)
    with Index.open(dense.path) as again:
        assert again.searching(rerank=str(folder)).fingerprint == before
    (folder / weights).unlink()  # the loaded model may have it mapped
    shutil.copy(make_reranker(7) / weights, folder / weights)
    assert (view.fingerprint, view.search(QUERIES, 3)) == (before, hits)  # it goes on with what it loaded
    with Index.open(dense.path) as again:
        changed = again.searching(rerank=folder)
        assert changed.fingerprint != before
        assert changed.search(QUERIES, 3) != hits


def test_a_hub_that_does_not_answer(dense: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelFileError, match="reranker 'some/absent': no such folder, and the hub did not deliver it"):
        dense.search(["x"], rerank="some/absent")
