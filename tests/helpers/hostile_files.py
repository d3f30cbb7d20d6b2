"""Files that mean harm: pipes, endless devices, and small files that unfold to large ones."""

import contextlib
import gzip
import io
import lzma
import os
import signal
import socket
import struct
import tarfile
import zipfile
import zlib

import pytest

MIB = 1 << 20


@contextlib.contextmanager
def in_seconds(seconds):
    """Fail where what is inside hangs, on a pipe for example."""

    def stop(*_):
        raise AssertionError(f"not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_growth(function):
    """Return by how many MiB the process grew at most while `function` ran."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak so far is forgotten
    except OSError:
        pytest.skip("the peak of the memory in use cannot be reset here")
    before = _memory("VmRSS")
    function()
    return (_memory("VmHWM") - before) / 1024


def _memory(name):
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(name)).split()[1])


def make_pipe(path):
    os.mkfifo(path)


def make_endless(path):
    path.symlink_to("/dev/zero")


def make_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def make_folder(path):
    path.mkdir()


def make_broken_link(path):
    path.symlink_to(path.parent / "nowhere")


def make_circle(path):
    path.symlink_to(path)


SPECIAL = [make_pipe, make_endless, make_socket, make_folder, make_broken_link, make_circle]


def zeros_gz(num_mib):
    """A gzip file of this many MiB of zeros, made in no time: one part, written again and again."""
    return gzip.compress(bytes(16 * MIB)) * (num_mib // 16)


def zeros_deflated(num_mib):
    """Zeros as zlib packs them, without an end."""
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    part = packer.compress(bytes(16 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + part * (num_mib // 16 - 1)


def zip_of_zeros(path, name, num_mib, *, compression=zipfile.ZIP_DEFLATED, says=None):
    """A zip archive with one member of zeros; `says`: the size that its headers give instead."""
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive, archive.open(name, "w") as member:
        for _ in range(num_mib):
            member.write(bytes(MIB))
    if says is not None:
        true, false = (struct.pack("<L", size) for size in (num_mib * MIB, says))
        content = path.read_bytes()
        assert content.count(true) == 2
        path.write_bytes(content.replace(true, false))
    return path


def tar_of_zeros(path, name, num_mib, *, kind=tarfile.REGTYPE):
    """A .tar.gz with one member of zeros."""
    info = tarfile.TarInfo(name)
    info.size, info.type = num_mib * MIB, kind
    path.write_bytes(gzip.compress(info.tobuf()) + zeros_gz(num_mib) + gzip.compress(bytes(1024)))
    return path


def png_of_zeros(width, height):
    """A grey PNG with one bit a pixel: small, whatever its size."""

    def chunk(kind, content):
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def xz_asking_for_4_gib(content):
    """An .xz file whose header asks for the largest dictionary there is."""
    packed = bytearray(lzma.compress(content))
    length = 4 * (packed[12] + 1)  # of the block's header, after twelve bytes of the stream's
    assert packed[14:16] == b"\x21\x01"  # LZMA2, one byte of properties
    packed[16] = 40
    packed[12 + length - 4 : 12 + length] = struct.pack("<L", zlib.crc32(packed[12 : 12 + length - 4]))
    return bytes(packed)


def tar_bytes(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
