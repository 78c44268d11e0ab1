"""Reaching what is below a folder, and nothing else."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lakewright.kernel.faults import AlreadyExists, BadState, Denied, Invalid, NotFound
from lakewright.storage.paths import PARTIAL, Place, names

AT_FDCWD, RENAME_EXCHANGE = -100, 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("CANARY")
    return inside


def put(root: Path, path: str, content: bytes = b"x", *, overwrite: bool = True) -> None:
    source = root.parent / f"source-{threading.get_ident()}"
    source.write_bytes(content)
    Place(root, names(path)).put(source, overwrite=overwrite)


def read(root: Path, path: str) -> bytes:
    with os.fdopen(Place(root, names(path)).open(), "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "path",
    ["..", "../secret", "a/../../secret", "a/./b", "a//b", "a/..", "a\\..\\b", "a\x00b", "a\nb", "a\u202eb", "a\ud800",
     f"a/{PARTIAL}1", "x" * 256, "/".join(["a" * 200] * 30)],
)  # fmt: skip
def test_a_path_that_does_not_go_plainly_down_is_refused(path: str):
    with pytest.raises(Invalid):
        names(path)


@pytest.mark.parametrize(
    "path", ["%2e%2e/secret", "a b", "ü/日本", "-rf", "~root", "<script>.html", "a;b", "...", "..a"]
)
def test_what_only_looks_strange_is_a_name(root: Path, path: str):
    put(root, path, b"ok")
    assert read(root, path) == b"ok"
    assert all(Path(at).is_relative_to(root) for at, _, _ in os.walk(root))


def test_a_link_is_neither_followed_nor_listed_nor_removed_through(root: Path):
    (root / "file").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to(root.parent)
    (root / "loop").symlink_to("loop")
    for path in ("file", "folder/secret", "loop"):
        with pytest.raises(NotFound):
            read(root, path)
    assert Place(root, []).entries() == []
    for path in ("folder/new", "folder"):
        with pytest.raises((NotFound, AlreadyExists)):
            put(root, path)
    with pytest.raises(NotFound):
        Place(root, ["folder", "secret"]).remove()
    assert (root.parent / "secret").read_text() == "CANARY"
    assert not (root.parent / "new").exists()


def test_a_second_name_of_another_file_is_not_a_way_to_it(root: Path):
    os.link(root.parent / "secret", root / "mine")
    with pytest.raises(NotFound):
        read(root, "mine")
    assert Place(root, []).entries() == []


def test_a_pipe_does_not_hold_the_server_up(root: Path):
    os.mkfifo(root / "pipe")
    with pytest.raises(NotFound):
        read(root, "pipe")
    with pytest.raises(AlreadyExists):
        put(root, "pipe")
    assert Place(root, []).entries() == []


def test_writing_over_a_link_replaces_nothing_outside(root: Path):
    (root / "file").symlink_to(root.parent / "secret")
    with pytest.raises(AlreadyExists):
        put(root, "file", b"mine")
    assert (root.parent / "secret").read_text() == "CANARY"


def test_a_folder_swapped_for_a_link_while_writing_leads_nowhere(root: Path):
    """The race that a check with realpath loses: somebody alternates a folder and a link under the writer's feet."""
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "real").mkdir()
    (root / "link").symlink_to(outside)
    exchange = ctypes.CDLL(None, use_errno=True).renameat2
    real, link = os.fsencode(root / "real"), os.fsencode(root / "link")
    stop, swaps = threading.Event(), 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            swaps += exchange(AT_FDCWD, real, AT_FDCWD, link, RENAME_EXCHANGE) == 0

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(300):
            try:
                put(root, "real/file")
            except (NotFound, AlreadyExists):
                pass
    finally:
        stop.set()
        swapping.join()
    assert swaps > 10
    assert list(outside.iterdir()) == []


def test_a_file_is_there_whole_or_not_at_all(root: Path):
    put(root, "a/b/c", b"first")
    with pytest.raises(AlreadyExists):
        put(root, "a/b/c", b"second", overwrite=False)
    assert read(root, "a/b/c") == b"first"
    put(root, "a/b/c", b"third")
    assert read(root, "a/b/c") == b"third"
    assert [e.name for e in Place(root, ["a", "b"]).entries()] == ["c"]
    assert os.stat(root / "a" / "b" / "c").st_mode & 0o077 == 0


def test_of_many_who_may_not_overwrite_one_wins(root: Path):
    won: list[int] = []

    def attempt(i: int) -> None:
        try:
            put(root, "one", str(i).encode(), overwrite=False)
            won.append(i)
        except AlreadyExists:
            pass

    threads = [threading.Thread(target=attempt, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(won) == 1
    assert read(root, "one") == str(won[0]).encode()


def test_folders_are_made_with_those_above_and_removed_when_empty(root: Path):
    Place(root, ["a", "b"]).make()
    Place(root, ["a", "b"]).make()
    with pytest.raises(BadState):
        Place(root, ["a"]).remove_folder()
    Place(root, ["a", "b"]).remove_folder()
    put(root, "a/f")
    with pytest.raises(AlreadyExists):
        Place(root, ["a", "f"]).make()
    with pytest.raises(NotFound):
        Place(root, ["a", "f", "g"]).entry()
    with pytest.raises(Denied):
        Place(root, []).remove_folder()
    with pytest.raises(BadState):
        Place(root, ["a"]).remove()


WRITING = """
import os, sys
from lakewright.storage import paths
with paths._created(paths.PARTIAL + "1", os.open(sys.argv[1], os.O_RDONLY)):
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_keeps_no_folder(root: Path):
    inner = root / "inner"
    inner.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WRITING, str(inner)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        with pytest.raises(BadState, match="not empty"):
            Place(root, ["inner"]).remove_folder()
        writer.kill()
    Place(root, ["inner"]).remove_folder()
    assert not inner.exists()
