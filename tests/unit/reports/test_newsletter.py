"""The newsletter says what the records say, in HTML and in text alike."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from closebell.model.books import BreakKind, Position, PositionState
from closebell.model.decision import Decision, EntryMethod, Outcome, PlanAction, Stance
from closebell.model.instruments import Market
from closebell.reports.archive_page import standalone_html
from closebell.reports.issue import NewsletterIssue
from closebell.reports.newsletter import render_newsletter
from closebell.reports.sections import Topic, sections_of, topic_of
from tests.unit.reports.page_reader import PageReader, read
from tests.unit.reports.sample_issues import (
    NEXT_SESSION,
    SESSION,
    busy_day,
    decision,
    empty_day,
    equity,
    headline,
    large_market,
    plan,
    position,
    snapshot,
    votes,
)

CHAPTERS_OF_DECISIONS = ("BUY", "SELL", "WATCH", "AVOID", "KEEP", "SKIPPED", "QUIET")
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def chapters(text: str) -> dict[str, str]:
    """The text part, chapter by chapter."""
    parts = re.split(r"^([A-Z][A-Z ]+) -{20,}$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def numbers(words: str) -> set[str]:
    """Every number as it is printed, with its sign and unit."""
    printed = re.sub(r"https?://\S+", "", words).replace(NO_BREAK_SPACE, " ")
    return set(re.findall(r"[+\N{MINUS SIGN}]?\$?\d+(?:,\d{3})*(?:\.\d+)?(?: %)?", printed))


@pytest.mark.parametrize(("item", "topic"), [
    (decision("A", Outcome.ENTER), Topic.BUY),
    (decision("A", Outcome.EXIT), Topic.SELL),
    (decision("A", Outcome.DENIED, votes=votes(buy=3)), Topic.WATCH),
    (decision("A", Outcome.HOLD, votes=votes(buy=1, sell=1)), Topic.KEEP),
    (decision("A", Outcome.SKIPPED), Topic.SKIPPED),
    (decision("A", votes=votes(buy=1)), Topic.WATCH),
    (decision("A", votes=votes(buy=1, sell=1)), Topic.AVOID),
    (decision("A", votes=votes(sell=1)), Topic.QUIET),
    (decision("A", votes=votes(sell=2), stance=Stance.SELL), Topic.AVOID),
    (decision("A", votes=votes()), Topic.QUIET),
    (decision("A"), Topic.QUIET),
    (decision("ENTRY", Outcome.SKIPPED), Topic.BUY),
    (decision("EXIT", Outcome.SKIPPED), Topic.SELL),
    (decision("EXIT", Outcome.HOLD), Topic.SELL),
])
def test_a_decision_is_read_in_the_section_that_fits_it(item: Decision, topic: Topic) -> None:
    issue = replace(empty_day(), decisions=(item,), plans=(plan("ENTRY"), plan("EXIT", PlanAction.EXIT)))
    assert topic_of(issue.decisions[0], issue) is topic


def test_one_vote_short_follows_the_number_of_votes_needed() -> None:
    item = decision("A", votes=votes(buy=2))
    assert topic_of(item, replace(empty_day(), votes_to_act_count_min=3)) is Topic.WATCH
    assert topic_of(item, replace(empty_day(), votes_to_act_count_min=4)) is Topic.QUIET
    assert topic_of(decision("A"), replace(empty_day(), votes_to_act_count_min=1)) is Topic.QUIET


@pytest.mark.parametrize("issue", [empty_day(), busy_day(), large_market()], ids=["empty", "busy", "large"])
def test_every_decision_is_in_exactly_one_section(issue: NewsletterIssue) -> None:
    mail = render_newsletter(issue)
    told = chapters(mail.text)
    names = {item.symbol for item in issue.decisions}
    words_told = [word for name in CHAPTERS_OF_DECISIONS for word in set(re.findall(r"[A-Z0-9]+", told.get(name, "")))]
    assert Counter(word for word in words_told if word in names) == dict.fromkeys(names, 1)
    sections = sections_of(issue)
    lines = [line.symbol for section in sections for line in section.lines]
    shown = Counter([*", ".join(lines).split(", "), *(name for section in sections for name in section.also)])
    assert shown.total() == sum(section.symbols_count for section in sections)
    assert set(shown.values()) == {1}
    assert names <= shown.keys()
    words = read(issue).words
    assert all(re.search(rf"\b{name}\b", words) for name in names)


@pytest.mark.parametrize("issue", [
    empty_day(), busy_day(), large_market(), replace(busy_day(), snapshot=None),
    replace(busy_day(), is_halted=True, halt_reason="loss 5.2 %"),
], ids=["empty", "busy", "large", "no snapshot", "halted"])
def test_html_and_text_state_the_same_numbers(issue: NewsletterIssue) -> None:
    mail = render_newsletter(issue)
    assert numbers(PageReader(mail.html).words) == numbers(mail.text)


def test_the_busy_day_states_the_sums_a_reader_can_check() -> None:
    text = render_newsletter(busy_day()).text.replace(NO_BREAK_SPACE, " ")
    assert "AAPL      35 × $227.26, about $7,954" in text
    assert "stop ~$220.44 (−3.0 %)" in text
    assert "target ~$245.44 (+8.0 %)" in text
    assert "limit $116.77" in text
    assert "sector exposure 66.0 %, limit 60.0 % of equity" in text
    assert "XOM       1 of 2 votes, close $100.00" in text
    assert re.search(r"CVX +80 +\$121\.40 +\$124\.10 +\+\$216\.00 +\+2\.2 %", text)
    assert re.search(r"GE +700 +\$12\.31 +\$12\.09 +−\$154\.00 +−1\.8 %", text)
    assert "since 26 Sep, 3 of 5 sessions; stop $117.76, target $131.11" in text
    assert re.search(r"Today +\+\$402\.10 +\+0\.40 %", text)
    assert re.search(r"P&L since start +\+\$412\.30 +realised \+\$150\.25, unrealised \+\$262\.05", text)
    assert "18.3 % of equity in 2 positions; the largest is CVX with 9.9 %." in text
    assert "deepest drawdown 1.2 %" in text
    assert re.search(r"mean reversion +3 +1 +−\$159\.85", text)
    assert "quantity differs: the symbol is frozen" in text


def test_the_subject_holds_the_essentials() -> None:
    busy, empty = render_newsletter(busy_day()).subject, render_newsletter(empty_day()).subject
    assert busy == "closebell · Mon 1 Oct 2018: buy AAPL, MSFT · sell GE · equity $100,412 (+0.4\u00a0%)"
    assert empty == "closebell · Mon 1 Oct 2018: no trades · equity $100,412"


def test_the_subject_of_a_halted_desk_says_so_first_and_names_no_buys() -> None:
    subject = render_newsletter(replace(busy_day(), is_halted=True, halt_reason="daily loss")).subject
    assert subject.startswith("closebell · Mon 1 Oct 2018: HALTED · sell GE")
    assert "AAPL" not in subject


def test_a_review_of_an_earlier_session_is_not_sold_as_today() -> None:
    late = replace(busy_day(), equity=equity("100000.00", "100412.30", last_session=date(2018, 9, 28)))
    mail = render_newsletter(late)
    assert mail.subject.endswith("equity $100,412")
    assert "Today" not in mail.text
    assert "Day on 28 Sep" in mail.text


@pytest.mark.parametrize("symbol", ["A" * 400, "A\r\nBcc: evil@example.com", "\u202eA", "BTC/USD"])
def test_the_subject_is_one_line_of_at_most_120_characters(symbol: str) -> None:
    plans = tuple(plan(f"{index}{symbol}") for index in range(30)) + (plan(symbol, PlanAction.EXIT),)
    subject = render_newsletter(replace(busy_day(), plans=plans, market=Market.CRYPTO)).subject
    assert len(subject) <= 120
    assert subject.replace(NO_BREAK_SPACE, " ").isprintable()
    assert not set(subject) & set("\r\n\u2028\u2029\u202e")
    assert "equity $100,412" in subject


def test_a_first_day_says_what_was_considered_and_why_nothing_is_bought() -> None:
    mail = render_newsletter(empty_day())
    assert mail.images == ()
    assert "Nothing. Of 3 symbols considered, 2 had no signal and 1 came one vote short." in mail.text
    assert "No positions; everything is in cash." in mail.text
    assert "Bull market, low volatility (VIX 12.0)" in mail.text
    assert "cid:" not in mail.html


def test_a_day_without_decisions_says_that_nothing_was_decided() -> None:
    mail = render_newsletter(replace(empty_day(), decisions=(), snapshot=None))
    assert "No decision was recorded for this session" in mail.text
    assert "equity" not in mail.subject
    assert "Broker not read." in mail.text


def test_a_halt_is_the_first_thing_both_parts_say() -> None:
    mail = render_newsletter(replace(busy_day(), is_halted=True, halt_reason="equity fell 5.2 % below the open."))
    page = PageReader(mail.html)
    for words in (" ".join(mail.text.split()), " ".join(page.words.split())):
        assert "The desk is halted: equity fell 5.2 % below the open. It opens nothing until a human resumes it" in words
        assert words.index("The desk is halted") < words.index("AAPL")
        assert "none of these is sent" in words


def test_without_a_snapshot_the_book_uses_the_decided_closes() -> None:
    text = render_newsletter(replace(busy_day(), snapshot=None)).text
    assert "The broker could not be read; prices are the closes decided on." in text
    assert re.search(r"CVX +80 +\$121\.40 +\$124\.10 +\+\$216\.00", text)


def test_the_brokers_mark_of_this_session_beats_the_decided_close_and_an_older_one_does_not() -> None:
    fresh = replace(busy_day(), snapshot=snapshot(("CVX", "80", "8000.00")))
    stale = replace(busy_day(), snapshot=snapshot(("CVX", "80", "8000.00"), session=date(2018, 9, 28)))
    assert re.search(r"CVX +80 +\$121\.40 +\$100\.00", render_newsletter(fresh).text)
    assert re.search(r"CVX +80 +\$121\.40 +\$124\.10", render_newsletter(stale).text)


def test_a_position_without_any_price_has_dashes_not_zeros() -> None:
    issue = replace(empty_day(), positions=(position("ZZZ", "10", "5.00"),))
    assert re.search(r"ZZZ +10 +\$5\.00 +– +– +–", render_newsletter(issue).text)


def test_sessions_held_are_not_claimed_without_the_calendar() -> None:
    text = render_newsletter(replace(busy_day(), sessions=())).text
    assert "since 26 Sep; stop" in text
    assert "of 5 sessions" not in text


@pytest.mark.parametrize(("state", "words"), [
    (PositionState.OPEN, "no stop rests at the broker yet"), (PositionState.CLOSING, "being sold"),
    (PositionState.EXTERNAL, "never sold by the desk"), (PositionState.DISPUTED, "frozen"),
    (PositionState.DUST, "too small to sell"),
])
def test_a_position_that_is_not_simply_protected_says_so(state: PositionState, words: str) -> None:
    held = (position("CVX", "80", "121.40", state=state, stop_loss_frac=None),)
    mail = render_newsletter(replace(busy_day(), positions=held))
    assert words in " ".join(mail.text.split())
    assert words in mail.html
    assert "no stop" in mail.text


def test_an_emptied_position_divides_by_nothing() -> None:
    bare: Position = position("CVX", "80", "121.40").model_copy(update={"lots": ()})
    assert "CVX" in render_newsletter(replace(busy_day(), positions=(bare,))).text


def test_an_account_without_money_is_still_reported() -> None:
    broke = replace(busy_day(), equity=equity("0", "0"))
    assert "$0.00" in render_newsletter(broke).text


def test_a_plan_without_a_decision_is_still_announced() -> None:
    by_hand = plan("HAND", reason="bought by hand", method=EntryMethod.MARKET, stop_loss_frac=None)
    issue = replace(empty_day(), plans=(by_hand,))
    buy = chapters(render_newsletter(issue).text)["BUY"]
    assert "HAND" in buy
    assert "Bought by hand" in buy
    assert f"market{NO_BREAK_SPACE}order" in buy


@pytest.mark.parametrize("kind", list(BreakKind))
def test_every_kind_of_break_is_named(kind: BreakKind) -> None:
    day = busy_day()
    found = day.breaks[0].model_copy(update={"break_kind": kind})
    mail = render_newsletter(replace(day, breaks=(found,)))
    assert kind.value.replace("_", " ") in mail.text
    assert kind.value.replace("_", " ") in mail.html


def test_live_money_is_told_apart() -> None:
    live = render_newsletter(replace(busy_day(), environment="live"))
    assert "LIVE MONEY" in live.text
    assert "LIVE MONEY" in live.html
    assert "LIVE MONEY" not in render_newsletter(busy_day()).html


def test_the_footer_says_what_one_needs_in_an_emergency() -> None:
    for words in (render_newsletter(busy_day()).text, read(busy_day()).words):
        assert "closebell halt" in words
        assert "not investment advice" in " ".join(words.split())
        assert "0.1.0+e143fb6" in words
        assert "simulated exchange, real prices" in words


def test_500_symbols_fit_in_a_mail_that_clients_do_not_cut() -> None:
    long_url = "https://news.example.com/" + "a" * 450
    full = replace(large_market(), news=tuple(headline("H" * 200, url=long_url) for _ in range(50)))
    assert len(render_newsletter(full).html.encode()) < 102_000


def test_the_mail_carries_every_picture_it_shows_and_no_other() -> None:
    for issue in (empty_day(), busy_day()):
        mail = render_newsletter(issue)
        assert sorted(f"cid:{image.content_id}" for image in mail.images) == sorted(PageReader(mail.html).sources)


def test_every_picture_has_words_for_those_who_do_not_see_it() -> None:
    page = read(busy_day())
    assert [attributes for tag, attributes in page.tags if tag == "img" and "alt" not in attributes] == []
    assert 'alt="Equity from $100,000' in render_newsletter(busy_day()).html


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = read(busy_day())
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base", "svg"}
    assert not [name for _, names in page.tags for name in names if name.startswith("on")]
    assert not re.search(r"url\(|@import", render_newsletter(busy_day()).html)


def test_equal_issues_give_equal_mails() -> None:
    assert render_newsletter(busy_day()) == render_newsletter(busy_day())


def test_the_archive_page_carries_its_pictures_and_forbids_the_rest() -> None:
    page = standalone_html(render_newsletter(busy_day()))
    assert "cid:" not in page
    assert page.count("data:image/png;base64,") == 2
    assert "default-src 'none'" in page


def test_the_archive_page_refuses_a_mail_that_lacks_a_picture() -> None:
    mail = render_newsletter(busy_day())
    with pytest.raises(ValueError, match="equity@closebell"):
        standalone_html(mail.model_copy(update={"images": mail.images[1:]}))


def test_the_text_part_fits_a_terminal() -> None:
    for issue in (empty_day(), busy_day(), large_market()):
        lines = render_newsletter(issue).text.splitlines()
        assert max(len(line) for line in lines if "://" not in line) <= 78


def test_prices_below_a_dollar_keep_their_digits() -> None:
    held = position("DOGE/USD", "1500.5", "0.06123", market=Market.CRYPTO)
    text = render_newsletter(replace(empty_day(), market=Market.CRYPTO, positions=(held,))).text
    assert re.search(r"DOGE/USD +1,500\.5 +\$0\.06123", text)
    assert f"for {NEXT_SESSION:%a} 2 Oct 2018" in text
    assert SESSION < NEXT_SESSION


def test_writing_without_pictures_imports_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from closebell.reports.newsletter import render_newsletter\n"
        "from tests.unit.reports.sample_issues import empty_day\n"
        "render_newsletter(empty_day())\n"
        "print(sorted({'alpaca', 'talib', 'pandas', 'scipy', 'matplotlib', 'boto3'} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    assert done.stdout.strip() == "[]"


def test_symbols_kept_or_skipped_for_the_same_reason_share_a_line() -> None:
    skipped = tuple(decision(name, Outcome.SKIPPED, reason="no bars at all") for name in ("GOOG", "TWTR"))
    decisions = (*skipped, decision("T", Outcome.SKIPPED, reason="stale"))
    told = chapters(render_newsletter(replace(empty_day(), decisions=decisions)).text)
    assert "GOOG, TWTR\n          No bars at all\nT         close $100.00\n          Stale" in told["SKIPPED"]


def test_a_check_that_measured_nothing_says_so() -> None:
    day = busy_day()
    denied = next(item for item in day.decisions if item.symbol == "AMD")
    check = denied.checks[0].model_copy(update={"measured": None, "note": "volume is unknown", "limit": Decimal("0.01")})
    unmeasured = replace(day, decisions=(denied.model_copy(update={"checks": (check,)}),))
    text = " ".join(render_newsletter(unmeasured).text.split())
    assert "sector exposure not measured, limit 1.0 % of equity (volume is unknown)" in text
