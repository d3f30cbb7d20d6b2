"""Text from outside, such as the names of files: bytes in any encoding, made fit to be read and shown."""


def utf8_text(text: str) -> str:
    r"""Return a text with its bytes read as UTF-8 wherever they are, whatever Python took them for.

    Where the locale is no UTF-8, and in names of files that are none, Python keeps bytes as lone surrogates.

    Example:
        >>> utf8_text("caf\udcc3\udca9"), utf8_text("\udcff")
        ('café', '\udcff')
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no bytes
        return text


def is_utf8(text: str) -> bool:
    """Return whether a text holds no bytes that stand for themselves: many libraries take no other name of a file."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def printable(text: str) -> str:
    r"""Return a text with what is no printable character written as an escape: it must not command the terminal.

    Example:
        >>> printable("a\x1b[31m b\n")
        'a\\x1b[31m b\\n'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in utf8_text(text))
