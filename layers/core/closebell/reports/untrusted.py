"""Text from outside (headlines, reasons that quote a broker) made harmless and short before it is laid out.

What leaves here is one line of visible characters. It may still hold `<` and `&`: the HTML template escapes everything.
"""

import html
import unicodedata
from urllib.parse import urlsplit

import nh3

_READ_CHARS_MAX = 20_000
"""Nothing further is looked at, so that a huge input costs little."""

_LINK_CHARS_MAX = 500


def one_line(text: str, chars_max: int = 240) -> str:
    """`text` as a single visible line of at most `chars_max` characters.

    Control and format characters go: newlines would forge a section, right-to-left overrides reverse what is read.
    """
    visible = "".join(_visible(char) for char in text[:_READ_CHARS_MAX])
    line = " ".join(visible.split())
    return line if len(line) <= chars_max else line[: chars_max - 1].rstrip() + "…"


def plain_text(markup: str, chars_max: int = 160) -> str:
    """The words of a text that may hold HTML: tags go, scripts and styles go with what they hold, entities are read."""
    return one_line(html.unescape(nh3.clean(markup[:_READ_CHARS_MAX], tags=set())), chars_max)


def web_link(url: str) -> str:
    """`url` if it is a plain http or https link to a named host, else an empty string.

    Refused as well: a user before the host (`https://bank.example@evil.example`), blanks, control and non-ASCII
    characters (look-alike hosts), brackets, quotes and backslashes, and links longer than 500 characters.
    """
    if len(url) > _LINK_CHARS_MAX or not url.isascii() or not url.isprintable() or any(char in ' "\'<>\\`' for char in url):
        return ""
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return ""
    return url if is_plain else ""


def host_of(link: str) -> str:
    """The host a link leads to, without `www.`, at most 40 characters."""
    return one_line((urlsplit(link).hostname or "").removeprefix("www."), 40)


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if char in "\t\n\r" or category[0] == "Z":
        return " "
    return "" if category[0] == "C" else char
