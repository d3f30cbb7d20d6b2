"""Notes on images that were decoded: how many, of which sizes, what was done with them, and what was left out."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mixscope.data.geometry import Geometry
from mixscope.data.pixels import Decoded

SHOWN = 4  # kinds of files that are named one by one
DIM = 1 << 12  # the brightest of 16-bit images: 10 and 12 bits in 16 come out nearly black


@dataclass
class Tally:
    """What was seen so far."""

    count: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    brightest: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by kind: a suffix, or words
    others: Counter[str] = field(default_factory=Counter)  # images of formats that are not read here

    def add(self, decoded: Decoded) -> None:
        """Count one image."""
        self.count += 1
        self.sizes[decoded.size] += 1
        for what in ("is_turned", "is_transparent", "is_blank", "is_animated"):
            self.seen[what] += getattr(decoded, what)
        if decoded.brightest is not None:
            self.seen["is_deep"] += 1
            self.brightest = max(self.brightest, decoded.brightest)

    def leave_out(self, name: str, *, is_image: bool = False, kind: str = "") -> None:
        """Count a file that is left out, by its suffix or the kind that is given."""
        kind = kind or PurePosixPath(name).suffix.lower() or "without suffix"
        self.left_out[kind] += 1
        if is_image:
            self.others[kind] += 1

    def problem(self, geometry: Geometry) -> str | None:
        """Say why these images make no set, or None."""
        clear, deep = self.seen["is_transparent"], self.seen["is_deep"]
        if clear > 1 and self.seen["is_blank"] == clear:
            others = "black" if geometry.ground_words == "white" else "white"
            images = f"the {clear:,} images with transparency"
            return f"nothing shows of {images} on {geometry.ground_words}; try background {others}"
        if deep and 0 < self.brightest < 1 << 8:
            return f"16-bit images must use their range, got no level above {self.brightest}; save them with 8 bits"
        return None

    def notes(self, geometry: Geometry, *, name: str) -> str:
        """Say what was done, in one line."""
        sizes = f" of {len(self.sizes):,} sizes" if len(self.sizes) > 1 else ""
        parts = [f"{self.count:,} images of {name}{sizes}" + (f": {geometry}" if str(geometry) else "")]
        for what, words in (
            ("is_transparent", f"with transparency on {geometry.ground_words}"),
            ("is_turned", "turned upright by EXIF"),
            ("is_deep", "of 16 bits scaled to 8"),
            ("is_animated", "animated, first frame taken"),
        ):
            if self.seen[what]:
                parts.append(f"{self.seen[what]:,} {words}")
        if self.left_out:
            total = sum(self.left_out.values())
            parts.append(f"{total:,} {'file' if total == 1 else 'files'} left out ({_listed(self.left_out)})")
        return "; ".join(parts)

    def cautions(self, geometry: Geometry) -> tuple[str, ...]:
        """Say what the user should know."""
        found = []
        if self.others:
            total = sum(self.others.values())
            files = "1 image file was" if total == 1 else f"{total:,} image files were"
            found.append(f"{files} left out ({_listed(self.others)}): convert to PNG or JPEG to use them")
        if clear := self.seen["is_transparent"]:
            words = "1 image with transparency is" if clear == 1 else f"{clear:,} images with transparency are"
            found.append(f"{words} put on {geometry.ground_words} (--background)")
        if blank := self.seen["is_blank"]:
            words = "1 image with transparency shows" if blank == 1 else f"{blank:,} images with transparency show"
            found.append(f"{words} nothing on {geometry.ground_words}: another background may")
        if self.seen["is_deep"] and self.brightest < DIM:
            found.append(f"16-bit images are dark: their brightest level is {self.brightest:,} of 65,535")
        return tuple(found)


def _listed(kinds: Counter[str]) -> str:
    """Return "2 .heic, 1 .txt", the most first."""
    shown = [f"{count:,} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
    rest = sum(count for _, count in kinds.most_common()[SHOWN:])
    return ", ".join(shown if len(shown) <= SHOWN else [*shown[:SHOWN], f"{rest:,} others"])
