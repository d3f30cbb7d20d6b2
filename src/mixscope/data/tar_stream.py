"""Tar streams: unpacked with a bound on the length, on one header and on the memory it takes."""

import gzip
import lzma
import tarfile
from io import BufferedReader
from pathlib import Path
from typing import Any

from mixscope.base.reading import CHUNK_BYTES, check_size, size_words

STREAM_BYTES = 1 << 38  # 256 GiB, that a tar archive may unfold to: twice the images of ImageNet
UNPACKING_BYTES = 1 << 28  # 256 MiB, that unpacking .xz may need: xz -9 needs 65 MiB, a hostile header asks for 4 GiB
HEADER_BYTES = 1 << 20  # of one member's names and attributes in a tar archive
LONG_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def unpacked(file: BufferedReader, path: Path) -> "CountedStream":
    """Return the stream in an opened .tar, .tar.gz, .tgz or .tar.xz file, told apart by the name in `path`."""
    name = path.name.lower()
    if name.endswith((".gz", ".tgz")):
        return CountedStream(gzip.GzipFile(fileobj=file), path)
    return CountedStream(_Xz(file) if name.endswith(".xz") else file, path)


class CountedStream:
    """A stream that ends in an error where it has no end."""

    def __init__(self, stream: "BufferedReader | gzip.GzipFile | _Xz", path: Path) -> None:
        self.stream, self.path, self.total = stream, path, 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, and none at the end."""
        part = self.stream.read(size)
        self.total += len(part)
        check_size(self.total, ceiling=STREAM_BYTES, source=str(self.path), why="an archive unpacked", is_exact=False)
        return part


class _Xz:
    """What an .xz file holds; unlike lzma's own reader, with a bound on the memory that unpacking takes."""

    def __init__(self, file: BufferedReader) -> None:
        self.file, self.unpacker = file, lzma.LZMADecompressor(memlimit=UNPACKING_BYTES)

    def read(self, size: int) -> bytes:
        part = b""
        while not part:
            packed = b""
            if self.unpacker.eof:  # another stream may follow, after zeros that pad it
                packed = self.unpacker.unused_data.lstrip(b"\0")
                while not packed and (packed := self.file.read(CHUNK_BYTES)):
                    packed = packed.lstrip(b"\0")
                if not packed:
                    return b""
                self.unpacker = lzma.LZMADecompressor(memlimit=UNPACKING_BYTES)
            elif self.unpacker.needs_input and not (packed := self.file.read(CHUNK_BYTES)):
                raise EOFError("the compressed data end before their end is marked")
            try:
                part = self.unpacker.decompress(packed, size)
            except lzma.LZMAError as error:
                if "Memory usage limit" not in str(error):
                    raise
                raise lzma.LZMAError(f"unpacking takes more than {size_words(UNPACKING_BYTES)} of memory") from error
        return part


class StrictHeader(tarfile.TarInfo):
    """A member header that is short, and that, where damaged or cut off, is an error and not the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:  # type: ignore[override]
        """Return the header in a block, unless what follows it may be of any length."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in LONG_HEADERS and header.size > HEADER_BYTES:
            raise tarfile.ReadError(f"the header of a member takes {size_words(header.size)}")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"member {header.name!r} is stored with holes")
        return header

    def _proc_gnusparse_10(self, *_: Any) -> None:
        raise tarfile.ReadError("a member is stored with holes")  # its map may be of any length

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[override]
        """Return the next header; tarfile catches some of these errors, and takes them for the end."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # The regular end: a block of zeros.
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error
