"""Folders that one process at a time writes: who holds one is told, and it is let go however the holder ends."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from mixscope.base.errors import UserError
from mixscope.base.folder_lock import LOCK_FILE, FolderLock, hold_folder


def hold(folder, **options):
    return hold_folder(folder, note=pytest.fail, **options)


def refusal(folder):
    """Return what is said of a folder that another holds."""
    with pytest.raises(UserError) as caught, hold(folder):
        pytest.fail("held twice")
    return str(caught.value)


def in_child(act):
    """Do something in a forked process; return its number."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return process


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_who_holds_a_folder_is_told_in_one_line_with_what_to_do(tmp_path):
    with hold(tmp_path):
        said = refusal(tmp_path)
    found = re.fullmatch(r"(.*) is in use by process (\d+) on (.*) since (.*); wait .*, or choose another folder", said)
    assert (found[1], int(found[2]), found[3]) == (str(tmp_path), os.getpid(), socket.gethostname())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found[4])


def test_who_is_refused_touches_nothing(tmp_path):
    with hold(tmp_path):
        (tmp_path / ".a.1.tmp").write_text("half")
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}
        changed = tmp_path.stat().st_mtime_ns
        refusal(tmp_path)
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()} == before
        assert tmp_path.stat().st_mtime_ns == changed


def test_another_thread_and_another_way_to_the_folder_are_refused_too(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with hold(tmp_path / "a"):
        said = []
        thread = threading.Thread(target=lambda: said.append(refusal(tmp_path / "a")))
        thread.start()
        thread.join()
        assert "is in use by" in said[0]
        assert "is in use by" in refusal(tmp_path / "link")
        with hold(tmp_path / "a" / "inside"), hold(tmp_path):
            pass  # other folders


def test_a_folder_in_which_nothing_was_written_is_gone_again_and_any_other_stays(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with hold(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").write_text("x")
    with hold(tmp_path / "a"):
        assert (tmp_path / "a" / LOCK_FILE).exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    with hold(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_killed_holder_lets_go_and_what_it_left_misleads_nobody(tmp_path):
    def hold_on():
        with hold(tmp_path):
            (tmp_path / "begun").touch()
            time.sleep(600)

    process = in_child(hold_on)
    wait_for((tmp_path / "begun").exists)
    assert f"process {process} " in refusal(tmp_path)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert str(process) in (tmp_path / LOCK_FILE).read_text()
    with hold(tmp_path):
        assert f"process {os.getpid()} " in refusal(tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_forked_child_neither_holds_on_nor_lets_go_for_its_parent(tmp_path):
    lock = FolderLock(tmp_path)
    asleep = in_child(lambda: time.sleep(600))
    assert os.waitpid(in_child(lock.release), 0)[1] == 0
    assert "is in use by" in refusal(tmp_path)
    lock.release()
    with hold(tmp_path):  # though the child lives
        os.kill(asleep, signal.SIGKILL)
    os.waitpid(asleep, 0)


def test_a_program_that_is_started_meanwhile_does_not_hold_on(tmp_path):
    lock = FolderLock(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as started:
        lock.release()
        with hold(tmp_path):
            started.stdin.close()


def test_one_at_a_time_gets_in_where_many_come_and_go(tmp_path):
    folder, log = tmp_path / "folder", tmp_path / "log"
    log.touch()

    def come_and_go():
        for _ in range(40):
            try:
                with hold(folder):
                    for word in (b"in\n", b"out\n"):
                        with log.open("ab") as file:
                            file.write(word)
            except UserError:
                pass

    for process in [in_child(come_and_go) for _ in range(4)]:
        assert os.waitpid(process, 0)[1] == 0
    words = log.read_text().split()
    assert words == ["in", "out"] * (len(words) // 2)
    assert words


def test_a_lock_whose_file_is_deleted_is_taken_again(tmp_path):
    folder = tmp_path / "folder"
    with hold(folder) as lock:
        assert not lock.renew()
        (folder / LOCK_FILE).unlink()
        folder.rmdir()
        assert lock.renew()
        assert "is in use by" in refusal(folder)
    assert not folder.exists()


def test_a_folder_that_another_took_meanwhile_stays_the_others(tmp_path):
    with hold(tmp_path) as lock:
        (tmp_path / LOCK_FILE).unlink()
        with hold(tmp_path):
            with pytest.raises(UserError, match="is in use by"):
                lock.renew()
            assert "is in use by" in refusal(tmp_path)
        with pytest.raises(UserError, match="was deleted and is another process's now"):
            lock.renew()
        with hold(tmp_path):
            lock.release()
            assert "is in use by" in refusal(tmp_path)


def test_leftovers_of_killed_writers_are_swept_in_the_folder_and_the_named_ones_inside(tmp_path):
    for name in ("checkpoints", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".a.1.tmp").write_text("half")
    (tmp_path / ".a.1.tmp").write_text("half")
    with hold(tmp_path, inside=["checkpoints", "absent"]):
        assert [path.parent.name for path in tmp_path.rglob("*.tmp")] == ["mine"]


def test_a_file_system_without_locks_is_told_and_written_all_the_same(tmp_path, monkeypatch):
    def no_locks(descriptor, *, blocking):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("filelock.lock_descriptor", no_locks)
    notes = []
    with hold_folder(tmp_path / "a", note=notes.append) as lock:
        assert not lock.renew()
        assert list((tmp_path / "a").iterdir()) == []
    assert notes == [f"{tmp_path / 'a'} is on a file system without locks: no other process must write it meanwhile"]
    assert not (tmp_path / "a").exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "precious").write_text("x")
    (tmp_path / "folder" / LOCK_FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=re.escape(LOCK_FILE)), hold(tmp_path / "folder"):
        pass
    assert (tmp_path / "precious").read_text() == "x"
