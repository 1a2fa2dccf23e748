"""A corpus folder, or an archive, reaches for no files beside it: links out, special files, members that are links."""

from __future__ import annotations

import os
import socket
import stat
import zipfile
from pathlib import Path

import pytest
from made import jsonl, passages, zipped

from ragscale.corpus import Problems
from ragscale.errors import BadDocument

SECRET = "the key of the one who builds"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus folder, with files beside it that are none of its business."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("shown")
    (tmp_path / "beside").mkdir()
    for name in ("secret.txt", "secret.md", "secret.html"):
        (tmp_path / "beside" / name).write_text(SECRET)
    (tmp_path / "beside" / "secret.jsonl").write_bytes(jsonl([{"id": "s", "text": SECRET}]))
    (tmp_path / "beside" / "secret.csv").write_text(f"id,text\ns,{SECRET}\n")
    (tmp_path / "beside" / "secret.zip").write_bytes(zipped({"s.txt": SECRET.encode()}))
    return root


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".jsonl", ".csv", ".zip"])
@pytest.mark.parametrize("relative", [True, False])
def test_links_out_of_the_folder_are_bad_documents(root: Path, suffix: str, relative: bool) -> None:
    beside = root.parent / "beside" / f"secret{suffix}"
    (root / "sub" / f"z{suffix}").symlink_to(Path("../../beside") / beside.name if relative else beside)
    with pytest.raises(
        BadDocument, match=rf"z\{suffix}: a link to {beside}, outside of the corpus folder .*root\. Rem"
    ):
        passages(root)
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    assert problems.count == 1


@pytest.mark.parametrize("target", ["/proc/self/environ", "/dev/zero", "/etc/hostname", "chain.txt", "../beside/none"])
def test_wherever_they_lead(root: Path, target: str) -> None:
    (root / "chain.txt").symlink_to(root.parent / "beside" / "secret.txt")
    (root / "z.txt").symlink_to(target)
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    assert [problem.place for problem in problems.first] == [str(root / "chain.txt"), str(root / "z.txt")]
    assert all("outside of the corpus folder" in problem.reason for problem in problems.first)


def test_through_a_folder_that_is_a_link(root: Path) -> None:
    (root / "sub" / "out").symlink_to(root.parent / "beside")
    (root / "z.txt").symlink_to("sub/out/secret.txt")
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    assert (problems.count, problems.left_out) == (1, {"links to folders": 1})


def test_a_neighbour_whose_name_begins_alike_is_outside(root: Path) -> None:
    (root.parent / "root-too").mkdir()
    (root.parent / "root-too" / "b.txt").write_text(SECRET)
    (root / "z.txt").symlink_to("../root-too/b.txt")
    with pytest.raises(BadDocument, match="outside of the corpus folder"):
        passages(root)


def test_links_to_hidden_files_are_bad_too(root: Path) -> None:
    (root / ".env").write_text(SECRET)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text(SECRET)
    (root / "y.txt").symlink_to(".git/config")
    (root / "z.txt").symlink_to(".env")
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    targets = [root / ".git" / "config", root / ".env"]
    assert [problem.reason for problem in problems.first] == [f"a link to the hidden file {path}" for path in targets]


def test_links_within_the_folder_are_followed(root: Path) -> None:
    (root / "sub" / "b.txt").symlink_to("../a.txt")
    (root / "c.txt").symlink_to(root / "sub" / "b.txt")
    assert [(p.id, p.text) for p in passages(root)] == [(f"{n}#0", "shown") for n in ("a.txt", "c.txt", "sub/b.txt")]
    # also where the folder itself is given by a link, or lies in a hidden one
    (root.parent / "by-link").symlink_to(root)
    assert len(passages(root.parent / "by-link")) == 3
    hidden = root.rename(root.parent / ".root")
    (hidden / "c.txt").unlink()
    assert len(passages(hidden)) == 2


def test_links_of_kinds_that_are_not_read_are_left_out(root: Path) -> None:
    (root / "z.png").symlink_to("/etc/hostname")
    problems = Problems()
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    assert problems.left_out == {".png files": 1}


def test_a_link_that_is_named_itself_is_followed(root: Path) -> None:
    (root / "z.txt").symlink_to("../beside/secret.txt")
    assert [(p.id, p.text) for p in passages(root / "z.txt")] == [("z.txt#0", SECRET)]


def test_links_in_a_ring(root: Path) -> None:
    (root / "y.txt").symlink_to("z.txt")
    (root / "z.txt").symlink_to("y.txt")
    (root / "sub" / "up").symlink_to("..")
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    assert [problem.reason for problem in problems.first] == ["not a regular file"] * 2


def test_pipes_and_sockets_neither_hang_nor_stop_what_keeps_going(root: Path) -> None:
    os.mkfifo(root / "y.jsonl")
    os.mkfifo(root / "sub" / ".pipe")
    (root / "x.txt").symlink_to("y.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "z.csv"))
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(root, problems=problems)] == ["shown"]
    assert [problem.reason for problem in problems.first] == ["not a regular file"] * 3
    with pytest.raises(BadDocument, match=r"y\.jsonl: not a regular file"):
        passages(root / "y.jsonl")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_members_that_are_no_files(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (("m.txt", "/etc/passwd"), ("n.png", "x.txt")):
            member = zipfile.ZipInfo(name)
            member.external_attr = (kind | 0o777) << 16
            archive.writestr(member, text)
        archive.writestr("z.txt", "good")
    with pytest.raises(BadDocument, match=r"a\.zip, member 'm\.txt': a link, or another thing that is no file\. Put"):
        passages(path)
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(path, problems=problems)] == ["good"]
    assert (problems.count, problems.left_out) == (1, {".png files": 1})


def test_members_with_endless_names(tmp_path: Path) -> None:
    """They would stand in the id and the metadata of each chunk."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"n" * 60_000 + ".txt": b"x", "é" * 600 + ".txt": b"x", "z.txt": b"good"}))
    with pytest.raises(
        BadDocument, match=r"member 'nnn.*\.\.\.: a name of 60,004 characters, the limit is 1,024 bytes"
    ):
        passages(path)
    problems = Problems(keep_going=True)
    assert [p.text for p in passages(path, problems=problems)] == ["good"]
    assert problems.count == 2
