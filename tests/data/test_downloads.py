import errno
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import pytest

from mixscope.base.errors import UserError
from mixscope.data import download
from mixscope.data.download import RemoteFile, fetch_files

CONTENT = bytes(range(256)) * 4096  # 1 MiB: four chunks
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Server:
    """A loopback server of one file, and what it was asked for."""

    base: str = ""
    status: int = 200
    cut_at: int | None = None
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    num_asked: int = 0


@pytest.fixture
def server():
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.num_asked += 1
            if state.status != 200:
                self.send_error(state.status)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            time.sleep(state.seconds)
            self.wfile.write(CONTENT[: state.cut_at])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.base = f"http://127.0.0.1:{running.server_address[1]}/"
        yield state
        running.shutdown()
        thread.join()


def remote(server, md5=MD5):
    return RemoteFile(f"{server.base}set.gz", md5, "set.gz")


def test_a_file_is_downloaded_whole_and_progress_told(server, tmp_path):
    told = []
    folder = fetch_files([remote(server)], tmp_path / "new" / "folder", progress=lambda *news: told.append(news))
    assert (folder / "set.gz").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["set.gz"]
    assert told[-1] == ("downloading set.gz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_file_that_is_there_is_not_asked_for_again(server, tmp_path):
    for _ in range(2):
        fetch_files([remote(server)], tmp_path)
    assert server.num_asked == 1


@pytest.mark.parametrize("is_answered", [True, False])
def test_of_processes_that_need_the_same_file_one_downloads_it_and_the_others_wait(server, tmp_path, is_answered):
    server.seconds, server.status = 0.5, 200 if is_answered else 503
    code = (
        "import sys; from pathlib import Path; from mixscope.data.download import RemoteFile, fetch_files;"
        "print('ready', flush=True); input();"
        "fetch_files([RemoteFile(*sys.argv[1:4])], Path(sys.argv[4]))"
    )
    file = remote(server)
    command = [sys.executable, "-c", code, file.url, file.md5, file.name, str(tmp_path / "new")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate()[1].splitlines()[-1:] for process in processes]
    if is_answered:
        assert ends == [[], [], []]
        assert server.num_asked == 1
        assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["new", "new/set.gz"]
    else:
        assert all("UserError: cannot download" in end for (end,) in ends), ends
        assert server.num_asked == 3
        assert list(tmp_path.iterdir()) == []


def test_a_file_with_another_checksum_is_downloaded_again(server, tmp_path):
    (tmp_path / "set.gz").write_bytes(b"old")
    fetch_files([remote(server)], tmp_path)
    assert (tmp_path / "set.gz").read_bytes() == CONTENT


def test_a_download_that_was_cut_off_leaves_nothing_and_the_next_try_works(server, tmp_path):
    server.cut_at = 300_000
    with pytest.raises(UserError, match=r"^cannot download http://127\.0\.0\.1:\d+/set\.gz \(.*\); try again, "):
        fetch_files([remote(server)], tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.cut_at = None
    fetch_files([remote(server)], tmp_path)
    assert (tmp_path / "set.gz").read_bytes() == CONTENT


def test_a_file_that_its_server_calls_encoded_is_kept_as_it_is(server, tmp_path):
    server.headers = {"Content-Encoding": "x-gzip"}
    fetch_files([remote(server)], tmp_path)
    assert (tmp_path / "set.gz").read_bytes() == CONTENT


def test_a_file_without_end_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "FILE_BYTES", 600_000)
    with pytest.raises(UserError, match=r"set\.gz: must be at most 600,000 bytes for a file of a named set"):
        fetch_files([remote(server)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_download_left_goes_with_the_next_one(server, tmp_path):
    (tmp_path / ".set.gz.123.tmp").write_bytes(b"half")
    fetch_files([remote(server)], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set.gz"]


def test_a_wrong_checksum_removes_the_file_and_says_expected_and_got(server, tmp_path):
    with pytest.raises(UserError) as caught:
        fetch_files([remote(server, md5="0" * 32)], tmp_path)
    assert str(caught.value) == (
        f"set.gz from {server.base}set.gz: wrong checksum, expected md5 {'0' * 32}, got {MD5}; "
        "the file is removed, try again"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [404, 503])
def test_an_answer_of_the_server_is_named(server, tmp_path, status):
    server.status = status
    with pytest.raises(UserError, match=rf"^cannot download {server.base}set\.gz \(HTTP {status} ") as caught:
        fetch_files([remote(server)], tmp_path)
    assert str(caught.value).endswith(
        f"or put set.gz by hand into {tmp_path}, or set MIXSCOPE_DATA to a folder that has it"
    )


def test_a_server_that_is_gone_is_named_in_one_line_with_what_to_do(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(UserError) as caught:
        fetch_files([RemoteFile(f"http://127.0.0.1:{port}/set.gz", MD5, "set.gz")], tmp_path)
    with pytest.raises(UserError):
        fetch_files([RemoteFile(f"http://127.0.0.1:{port}/set.gz", MD5, "set.gz")], tmp_path / "new")
    assert str(caught.value) == (
        f"cannot download http://127.0.0.1:{port}/set.gz (Connection refused); try again, "
        f"or put set.gz by hand into {tmp_path}, or set MIXSCOPE_DATA to a folder that has it"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trouble", ["status", "cut before the first byte", "checksum"])
def test_a_download_that_brings_nothing_leaves_no_folder_where_none_was(server, tmp_path, trouble):
    server.status = 503 if trouble == "status" else 200
    server.cut_at = 0 if trouble == "cut before the first byte" else None
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(UserError):
            fetch_files([remote(server, md5="0" * 32)], tmp_path / name)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_what_has_arrived_stays_when_a_later_file_fails(server, tmp_path):
    gone = RemoteFile("http://127.0.0.1:9/other.gz", MD5, "other.gz")
    with pytest.raises(UserError, match=r"^cannot download http://127\.0\.0\.1:9/other\.gz"):
        fetch_files([remote(server), gone], tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["set.gz"]


def test_without_name_lookup_the_address_is_named_in_one_line(tmp_path):
    with pytest.raises(
        UserError, match=r"^cannot download http://mixscope\.invalid/set\.gz \(.*\); try again"
    ) as caught:
        fetch_files([RemoteFile("http://mixscope.invalid/set.gz", MD5, "set.gz")], tmp_path)
    assert "\n" not in str(caught.value)


def test_a_full_disk_names_the_folder(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=f"^cannot write to {tmp_path}: No space left on device; "):
        fetch_files([remote(server)], tmp_path)


def test_downloading_writes_nothing_to_the_terminal(server, tmp_path, capfd):
    fetch_files([remote(server)], tmp_path)
    assert capfd.readouterr() == ("", "")
