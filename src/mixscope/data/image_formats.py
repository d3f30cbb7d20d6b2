"""Formats of image files, told by their first bytes and not by their names."""

import re
from typing import Literal

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # PIL knows more, and some that run programs
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Images that are not read here: by name where the content does not tell.
OTHER_SUFFIXES = (
    *(".heic", ".heif", ".avif", ".svg", ".svgz", ".psd", ".psb", ".jp2", ".j2k", ".jxl", ".ico", ".tga", ".exr"),
    *(".hdr", ".eps", ".dcm", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
)
RAW_SUFFIXES = (".dng", ".nef", ".arw", ".orf", ".rw2", ".pef", ".srw", ".cr2")  # these are TIFF by their first bytes
READABLE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|P[1-6]\s+(#|\d)",
    flags=re.DOTALL,
)
OTHERS = {
    "HEIC": re.compile(rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)", flags=re.DOTALL),
    "AVIF": re.compile(rb"....ftypavi[fs]", flags=re.DOTALL),
    "Canon raw": re.compile(rb"....ftypcrx |II\*\0....CR", flags=re.DOTALL),
    "Fuji raw": re.compile(rb"FUJIFILMCCD-RAW"),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
    "Photoshop": re.compile(rb"8BPS"),
    "OpenEXR": re.compile(rb"\x76\x2f\x31\x01"),
    "Radiance": re.compile(rb"#\?RADIANCE"),
    "icon": re.compile(rb"\0\0\x01\0[^\0]\0"),
    "PostScript": re.compile(rb"%!PS-Adobe"),
    "DICOM": re.compile(rb".{128}DICM", flags=re.DOTALL),
    "SVG": re.compile(rb"\s*(<\?xml.*|<!--.*|<!DOCTYPE.*)?<svg[\s>]", flags=re.DOTALL | re.IGNORECASE),
}

Standing = Literal["image", "other image", "no image"]


def standing_of(name: str, head: bytes) -> Standing:
    """Say whether a file is an image that is read here, an image of another format, or none, by its HEAD_BYTES.

    What is called an image by its name is taken for one, so that a damaged file is told and never left out.
    """
    lower = name.lower()
    if lower.endswith(RAW_SUFFIXES):
        return "other image"
    if READABLE.match(head) and other_format(head) is None:
        return "image"
    if lower.endswith(OTHER_SUFFIXES) or (other_format(head) and not lower.endswith(IMAGE_SUFFIXES)):
        return "other image"
    return "image" if lower.endswith(IMAGE_SUFFIXES) else "no image"


def other_format(head: bytes) -> str | None:
    """Return the name of a format that is not read here, or None."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    return next((name for name, pattern in OTHERS.items() if pattern.match(head)), None)
