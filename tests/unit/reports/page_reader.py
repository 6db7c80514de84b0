"""What a page holds, read with the standard library's own parser."""

from html.parser import HTMLParser

from closebell.reports.issue import NewsletterIssue
from closebell.reports.newsletter import render_newsletter


class PageReader(HTMLParser):
    """The tags of a page with the names of their attributes, its links, and the words a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.comments: list[str] = []
        self.words = ""
        self._hidden: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, tuple(values)))
        self.links += [values["href"] or ""] if "href" in values else []
        self.sources += [values["src"] or ""] if "src" in values else []
        if tag in ("style", "title") or (tag == "div" and "display:none" in (values.get("style") or "")):
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = None
        self.words += " "

    def handle_data(self, data: str) -> None:
        if self._hidden is None:
            self.words += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def read(issue: NewsletterIssue) -> PageReader:
    """The HTML of an issue, read."""
    return PageReader(render_newsletter(issue).html)
