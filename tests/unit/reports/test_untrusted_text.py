"""Nothing from outside gets into the newsletter as markup, as a line of its own or as a link that is none."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from closebell.reports.issue import NewsletterIssue
from closebell.reports.newsletter import EQUITY_IMAGE_ID, EXPOSURE_IMAGE_ID, render_newsletter
from tests.unit.reports.page_reader import PageReader, read
from tests.unit.reports.sample_issues import busy_day, headline

HOSTILE = {
    "script": "<script>document.title='owned'</script>up 5 %",
    "image": "<img src=x onerror=alert(1)>",
    "closing tags": "</td></tr></table></div></body></html><h1>SELL EVERYTHING</h1>",
    "mjml": "</mj-text><mj-raw><script>alert(1)</script></mj-raw>",
    "template": "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "quote": "\" onmouseover=\"alert(1)\" x=\"' onclick='alert(2)",
    "entities": "&lt;script&gt;alert(1)&lt;/script&gt;&#60;img src=x&#62;",
    "comment": "<!--[if mso]><p>--><!-- ]]> <![CDATA[<b>x</b>]]>",
    "formula": "=HYPERLINK(\"https://evil.example\",\"+cmd|' /C calc'!A0\")",
    "right to left": "price \u202egnihtemos\u2066\u200b fell\u2028BUY ------\x00\x1b[31m\x85",
    "lines": "one\r\nSubject: forged\n\nBUY ------------------------------------------------------\nEVIL   9000 shares",
    "ten kilobytes": "A" * 10_240,
    "cid": 'src="cid:equity@closebell"',
}


def saying(hostile: str) -> NewsletterIssue:
    """A busy day on which everything that can come from outside says the same."""
    day = busy_day()
    words = {"reason": hostile}
    return replace(
        day,
        decisions=tuple(item.model_copy(update=words | {"checks": tuple(
            check.model_copy(update={"note": hostile, "check": hostile}) for check in item.checks
        ), "binding_check": "", "votes": tuple(vote.model_copy(update={"strategy": hostile}) for vote in item.votes)})
            for item in day.decisions),
        plans=tuple(item.model_copy(update=words) for item in day.plans),
        positions=tuple(item.model_copy(update={"note": hostile}) for item in day.positions),
        breaks=tuple(item.model_copy(update={"note": hostile, "symbol": hostile}) for item in day.breaks),
        trades=tuple(item.model_copy(update={"symbol": hostile}) for item in day.trades),
        news=(headline(hostile, source=hostile), headline(hostile, url=hostile)),
        is_halted=True, halt_reason=hostile, source_note=hostile, code_version=hostile,
    )


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_from_outside_never_becomes_markup(hostile: str) -> None:
    harmless, attacked = read(saying("all quiet")), read(saying(hostile))
    assert attacked.tags == harmless.tags
    assert attacked.comments == harmless.comments
    assert attacked.sources == [f"cid:{EXPOSURE_IMAGE_ID}", f"cid:{EQUITY_IMAGE_ID}"]
    assert attacked.links == ["https://news.example.com/story?id=1&page=2"]


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_from_outside_cannot_forge_lines_or_reverse_reading(hostile: str) -> None:
    mail = render_newsletter(saying(hostile))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", mail.text + mail.html)
    assert Counter(re.findall(r"^[A-Z][A-Z ]+ -{20,}$", mail.text, re.MULTILINE)).most_common(1)[0][1] == 1
    assert max(len(line) for line in mail.text.splitlines() if "://" not in line) <= 78
    assert len(mail.html) < 102_000


def test_a_template_expression_in_a_headline_stays_as_it_was_written() -> None:
    assert "{{ 7 * 7 }}" in render_newsletter(replace(busy_day(), news=(headline("{{ 7 * 7 }}"),))).html


def test_a_headline_keeps_its_words_and_loses_its_tags() -> None:
    mail = render_newsletter(replace(busy_day(), news=(headline("AT&T <b>up 5%</b> &amp; S&amp;P < 3000<script>x()</script>"),)))
    assert "AT&T up 5% & S&P < 3000" in mail.text
    assert "AT&amp;T up 5% &amp; S&amp;P &lt; 3000</a>" in mail.html


@pytest.mark.parametrize("url", [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", " javascript:alert(1)", "data:text/html,<script>1",
    "vbscript:x", "file:///etc/passwd", "//evil.example/x", "/relative", "https://", "http:evil",
    "https://bank.example@evil.example/",
    "https://b\u0430nk.example/", "https://evil.example/\"onclick=\"x", "https://evil.example/\u202e", "https://[bad",
    "ftp://evil.example/x",
    "https://evil.example/" + "a" * 600, "",
])
def test_a_link_that_is_not_a_plain_web_address_is_not_shown(url: str) -> None:
    mail = render_newsletter(replace(busy_day(), news=(headline("Headline stays", url=url),)))
    assert PageReader(mail.html).links == []
    assert "Headline stays" in mail.html
    assert "Headline stays" in mail.text
    assert "evil" not in mail.text + mail.html


def test_a_link_names_the_host_it_leads_to() -> None:
    page = read(replace(busy_day(), news=(headline("Click", url="http://www.elsewhere.example:8080/a?b=1&c=2"),)))
    assert page.links == ["http://www.elsewhere.example:8080/a?b=1&c=2"]
    assert "elsewhere.example" in page.words
