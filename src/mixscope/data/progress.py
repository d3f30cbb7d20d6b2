"""How a long step tells its caller how far it is; the library itself never prints."""

from collections.abc import Callable

# Called as progress(what, done, total), for example ("decoding images", 1500, None); total is None where unknown.
Progress = Callable[[str, int, int | None], None]
