"""`closebell bars fetch` against the simulated exchange, and against a venue that answers wrongly."""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from closebell import cli
from closebell.adapters.bar_files import read_bar_folder
from closebell.adapters.bar_store import alone_in
from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.app import fetch_bars
from closebell.model.instruments import Market
from tests.contract.conftest import KEY_ID, SECRET_KEY, ExchangeSite, OpenExchange
from tests.contract.scripted_venue import CannedReply, ScriptedVenue, ok, refused, scripted_venue
from tests.contract.tiny_market import DAYS, FRI, MON, NEXT_FRI, NEXT_THU, SPLIT_DAY, THU, WED, ny, utc
from tests.contract.venue_payloads import bar, bars

Fetch = Callable[..., tuple[int, str]]
NO_SPLITS = ok({"corporate_actions": {}, "next_page_token": None})
EVENING = ny(NEXT_FRI, "18:00")


def set_clock(monkeypatch: pytest.MonkeyPatch, at: datetime) -> None:
    class EveningClock:
        def now(self) -> datetime:
            return at

    monkeypatch.setattr(cli.bars_commands, "SystemClock", EveningClock)


def fetching(url: str, folder: Path, secret: str = SECRET_KEY) -> Fetch:
    """`closebell bars fetch` into a folder, from the Wednesday on; status and everything it said."""

    def fetch(*words: str, since: date = WED) -> tuple[int, str]:
        environment = {"ALPACA_KEY_ID": KEY_ID, "ALPACA_SECRET_KEY": secret, "ALPACA_DATA_URL": url}
        done = CliRunner().invoke(cli.app, ["bars", "fetch", *words, "--from", f"{since}", "--out", f"{folder}"], env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return fetch


@pytest.fixture(autouse=True)
def the_last_evening(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, EVENING)


@pytest.fixture
def exchange(open_exchange: OpenExchange) -> ExchangeSite:
    return open_exchange(EVENING)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bars"


@pytest.fixture
def fetch(exchange: ExchangeSite, folder: Path) -> Fetch:
    return fetching(exchange.url, folder)


@pytest.fixture(scope="module")
def running_venue() -> Iterator[ScriptedVenue]:
    with scripted_venue() as venue:
        yield venue


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_fetched_files_are_what_a_backtest_reads_adjusted_for_splits(fetch: Fetch, folder: Path) -> None:
    status, said = fetch("ACME", "splt")
    assert (status, "2 fetched" in said, "adjusted for splits and dividends as of today" in said) == (0, True, True)
    calendar = ExchangeCalendar()
    panel = read_bar_folder(
        folder, lambda first, last: {hours.session for hours in calendar.sessions(Market.US_EQUITY, first, last)}
    )
    assert panel.symbols == ("ACME", "SPLT")
    assert panel.sessions.astype(object).tolist() == list(DAYS)
    assert panel.close[:, 0].tolist() == [100.5 + number for number in range(8)]
    assert panel.high[:, 0].tolist() == [101.0 + number for number in range(8)]
    assert panel.close[:, 1].tolist() == [100.0] * 8, "200 before the split of the 12th"
    assert panel.volume[0].tolist() == [4000.0, 8000.0]


def test_a_pair_is_fetched_for_every_utc_day_that_is_over(fetch: Fetch, folder: Path) -> None:
    assert fetch("BTC/USD")[0] == 0
    assert names_in(folder) == ["BTC-USD.csv", "fetched.json"]
    panel = read_bar_folder(folder)
    assert panel.symbols == ("BTC/USD",)
    assert panel.sessions.astype(str).tolist() == [f"2024-03-{day:02d}" for day in range(6, 15)]


def test_parquet_holds_the_same_bars(exchange: ExchangeSite, tmp_path: Path) -> None:
    for bar_format in ("csv", "parquet"):
        assert fetching(exchange.url, tmp_path / bar_format)("ACME", "BTC/USD", "--format", bar_format)[0] == 0
    assert names_in(tmp_path / "parquet") == ["ACME.parquet", "BTC-USD.parquet", "fetched.json"]
    assert read_bar_folder(tmp_path / "csv").sha256() == read_bar_folder(tmp_path / "parquet").sha256()


def test_what_is_there_is_not_asked_for_again_unless_refreshed_or_for_other_dates(
    fetch: Fetch, folder: Path, exchange: ExchangeSite
) -> None:
    fetch("ACME", since=THU)
    before = (folder / "ACME.csv").read_bytes()
    exchange.fault("unauthorized", times_left=None)
    assert "0 fetched" in fetch("ACME", since=THU)[1]
    assert fetch("ACME", "--to", f"{FRI}", since=FRI)[0] == 0
    assert fetch("ACME", "--refresh", since=THU)[0] == 1
    assert fetch("ACME", since=WED)[0] == 1
    assert (folder / "ACME.csv").read_bytes() == before
    exchange.control("DELETE", "/faults")
    assert "1 fetched" in fetch("ACME", since=WED)[1]
    assert read_bar_folder(folder).sessions[0].astype(object) == WED


def test_fetched_for_other_dates_a_file_keeps_those_it_had(fetch: Fetch, folder: Path, exchange: ExchangeSite) -> None:
    spans = [(THU, MON, DAYS[1:4]), (MON, NEXT_THU, DAYS[1:7]), (WED, FRI, DAYS[:7])]
    for refresh in ([], ["--refresh"]):
        for first, last, expected in spans:
            status, said = fetch("ACME", "--to", f"{last}", *refresh, since=first)
            assert (status, "1 fetched" in said) == (0, True), said
            assert read_bar_folder(folder).sessions.astype(object).tolist() == list(DAYS[:7] if refresh else expected)


def test_a_symbol_that_is_there_for_other_dates_does_not_widen_the_rest(fetch: Fetch, folder: Path) -> None:
    fetch("ACME", since=WED)
    assert "1 fetched" in fetch("THIN", "ACME", since=FRI)[1]
    assert (folder / "THIN.csv").read_text().splitlines()[1].startswith(f"{FRI}")


def test_another_feed_is_refused_by_name_and_fetched_when_asked(fetch: Fetch, folder: Path) -> None:
    fetch("ACME", "BTC/USD")
    before = (folder / "ACME.csv").read_bytes()
    status, said = fetch("ACME", "THIN", "BTC/USD", "--feed", "iex")
    assert (status, "1 there already, 2 not to be had" in said) == (1, True), said
    assert "closebell: THIN: " in said
    assert "ACME.csv has bars of the feed sip" in said
    assert (folder / "ACME.csv").read_bytes() == before
    assert fetch("ACME", "--feed", "iex", "--refresh")[0] == 0
    assert fetch("ACME", "THIN", "--feed", "iex")[0] == 0


def test_a_session_that_is_not_over_is_not_fetched_and_is_fetched_the_next_evening(
    open_exchange: OpenExchange, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ny(NEXT_THU, "16:10")  # closed, and withheld by the free plan
    site = open_exchange(now)
    set_clock(monkeypatch, now)
    fetch = fetching(site.url, folder)
    fetch("ACME", "--to", f"{NEXT_FRI}")
    assert read_bar_folder(folder).sessions[-1].astype(object) == DAYS[-3]
    site.advance(EVENING)
    set_clock(monkeypatch, EVENING)
    assert "1 fetched" in fetch("ACME", "--to", f"{NEXT_FRI}")[1]
    assert read_bar_folder(folder).sessions[-1].astype(object) == NEXT_FRI


def test_an_unknown_symbol_is_named_and_the_others_are_written(fetch: Fetch, folder: Path) -> None:
    status, said = fetch("ACME", "NOPE", "THIN")
    assert status == 1
    assert "closebell: NOPE: the feed has no bars from 2024-03-06 to 2024-03-15: is the symbol right?" in said
    assert names_in(folder) == ["ACME.csv", "THIN.csv", "fetched.json"]


@pytest.mark.parametrize("name", ["../ACME", "BTC-USD", "A B", "", "ACME.csv/"])
def test_what_is_no_symbol_is_refused_before_anything_is_asked(fetch: Fetch, folder: Path, name: str) -> None:
    status, said = fetch("ACME", name)
    assert (status, f"{name!r} is no symbol: write AAPL, BRK.B or BTC/USD" in said) == (1, True)
    assert names_in(folder) == []


def test_dates_the_wrong_way_round_are_said(fetch: Fetch) -> None:
    assert "--from 2024-03-08 is after --to 2024-03-07" in fetch("ACME", "--to", f"{THU}", since=FRI)[1]
    assert "nothing to fetch: 2030-01-01 is after 2024-03-15" in fetch("ACME", since=date(2030, 1, 1))[1]


def test_without_a_key_it_says_which_variables_to_set(folder: Path) -> None:
    environment = {"ALPACA_KEY_ID": "", "ALPACA_SECRET_KEY": ""}
    done = CliRunner().invoke(cli.app, ["bars", "fetch", "ACME", "--from", "2024-03-06", "--out", f"{folder}"], env=environment)
    assert done.exit_code == 1
    assert "ALPACA_KEY_ID and ALPACA_SECRET_KEY are not set" in done.output


@pytest.mark.parametrize("status_code", [400, 422])
def test_a_symbol_that_the_feed_refuses_is_named_and_does_not_hold_up_the_others(
    running_venue: ScriptedVenue, folder: Path, status_code: int
) -> None:
    no, one = refused(status_code, "invalid symbol: ZZBAD"), bar(utc(FRI, "05:00").isoformat(), 9.0)
    running_venue.will_answer(no, ok(bars({"ACME": [one]})), NO_SPLITS, no, ok(bars({"THIN": [one]})), NO_SPLITS)
    status, said = fetching(running_venue.url, folder)("ACME", "ZZBAD", "THIN")
    assert (status, "2 fetched" in said, "1 not to be had" in said) == (1, True, True), said
    assert f"closebell: ZZBAD: GET /stocks/bars: HTTP {status_code}: invalid symbol: ZZBAD" in said
    assert "goes on" not in said
    assert read_bar_folder(folder).symbols == ("ACME", "THIN")
    assert [one.query["symbols"] for one in running_venue.requests if one.path.endswith("/bars")] == [
        "ACME,ZZBAD,THIN", "ACME", "ZZBAD", "THIN",
    ]  # fmt: skip


@pytest.mark.parametrize(("message", "what_to_do"), [
    ("forbidden.", "the key is refused, or not entitled to this: check it, and what its plan includes"),
    ("subscription does not permit querying recent SIP data", 'ask for feed "iex"'),
])
def test_a_key_that_may_not_read_the_feed_is_not_told_to_try_again(
    running_venue: ScriptedVenue, folder: Path, message: str, what_to_do: str
) -> None:
    running_venue.will_answer(refused(403, message))
    status, said = fetching(running_venue.url, folder)("ACME", "THIN")
    assert (status, what_to_do in said, "goes on" in said) == (1, True, False), said
    assert len(running_venue.requests) == 1


def test_a_refused_key_is_said_and_never_shown(exchange: ExchangeSite, folder: Path) -> None:
    status, said = fetching(exchange.url, folder, secret="canary-wrong-secret")("ACME")
    assert (status, "check the broker key" in said) == (1, True)
    assert "canary" not in said
    assert KEY_ID not in said
    assert names_in(folder) == []


def test_the_request_limit_ends_the_command_and_the_same_one_goes_on(
    open_exchange: OpenExchange, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_bars, "SYMBOLS_A_BATCH", 1)
    site = open_exchange(EVENING, rate_limit=4)  # two requests a batch
    fetch = fetching(site.url, folder)
    status, said = fetch("ACME", "THIN", "WIDE")
    assert status == 1
    assert re.search(r"2 of 3 symbols are done; the same command after 22:01:00 UTC goes on with the others", said), said
    assert names_in(folder) == ["ACME.csv", "THIN.csv", "fetched.json"]
    site.advance(ny(NEXT_FRI, "18:02"))
    assert "1 fetched" in fetch("ACME", "THIN", "WIDE")[1]
    assert read_bar_folder(folder).symbols == ("ACME", "THIN", "WIDE")


def test_a_request_limit_between_bars_and_splits_writes_nothing_unchecked(open_exchange: OpenExchange, folder: Path) -> None:
    site = open_exchange(EVENING, rate_limit=1)
    status, said = fetching(site.url, folder)("ACME")
    assert (status, "0 of 1 symbols are done; the same command after" in said) == (1, True), said
    assert names_in(folder) == []


def test_a_symbol_named_twice_is_one(fetch: Fetch) -> None:
    assert "1 fetched" in fetch("ACME", "acme", "ACME")[1]


@pytest.mark.parametrize("fault", ["server_error", "garbage_html", "truncated_body", "empty_200"])
def test_a_reply_that_fails_leaves_no_file_and_the_next_run_fetches_it(
    exchange: ExchangeSite, fetch: Fetch, folder: Path, fault: str
) -> None:
    exchange.fault(fault, path="/v2/stocks/bars")
    status, said = fetch("ACME")
    assert (status, "0 of 1 symbols are done; the same command goes on" in said) == (1, True), said
    assert names_in(folder) == []
    assert fetch("ACME")[0] == 0


def test_bars_that_miss_a_reported_split_are_refused(running_venue: ScriptedVenue, folder: Path) -> None:
    split = {"symbol": "SPLT", "ex_date": f"{SPLIT_DAY}", "new_rate": 2, "old_rate": 1}
    raw = [bar(utc(day, "05:00").isoformat(), 10.0 if day < SPLIT_DAY else 5.0, o=9.0, l=4.0) for day in (FRI, SPLIT_DAY)]
    raw = [{**one, "o": one["c"]} for one in raw]
    running_venue.will_answer(ok(bars({"SPLT": raw})), ok({"corporate_actions": {"forward_splits": [split]}}))
    status, said = fetching(running_venue.url, folder)("SPLT")
    assert (status, "SPLT: bars are not adjusted for the split of 2024-03-12: 5 after 10" in said) == (1, True)
    assert names_in(folder) == []


def test_splits_that_cannot_be_read_are_a_note(running_venue: ScriptedVenue, folder: Path) -> None:
    one = bar(utc(FRI, "05:00").isoformat(), 9.0)
    running_venue.will_answer(ok(bars({"ACME": [one]})), refused(403, "forbidden"))
    status, said = fetching(running_venue.url, folder)("ACME")
    assert (status, "note: reported splits could not be read" in said) == (0, True)
    assert read_bar_folder(folder).close.tolist() == [[9.0]]


@pytest.mark.parametrize(("wrong", "words"), [
    (bar(utc(FRI, "05:00").isoformat(), None), "2024-03-08: close is missing"),
    (bar(utc(FRI, "05:00").isoformat(), 9.0, h=2.0, l=3.0), "2024-03-08: high 2 is below low 3"),
    (bar(utc(date(2024, 3, 9), "05:00").isoformat(), 9.0), "a bar of 2024-03-09, which is no session of the exchange"),
])
def test_bars_that_no_market_makes_are_refused_by_day(
    running_venue: ScriptedVenue, folder: Path, wrong: dict[str, object], words: str
) -> None:
    running_venue.will_answer(ok(bars({"ACME": [wrong]})), NO_SPLITS)
    status, said = fetching(running_venue.url, folder)("ACME")
    assert (status, words in said) == (1, True), said
    assert names_in(folder) == []


def test_a_symbol_listed_later_is_noted_and_the_plan_may_choose_the_feed(running_venue: ScriptedVenue, folder: Path) -> None:
    running_venue.will_answer(ok(bars({"ACME": [bar(utc(FRI, "05:00").isoformat(), 9.0)]})), NO_SPLITS)
    status, said = fetching(running_venue.url, folder)("ACME", "--feed", "iex", since=date(2020, 1, 1))
    assert (status, "note: 1 begin later than 2020-01-01: ACME on 2024-03-08" in said) == (0, True)
    assert running_venue.requests[0].query["feed"] == "iex"


def test_an_owners_file_is_replaced_only_when_asked(fetch: Fetch, folder: Path) -> None:
    folder.mkdir()
    (folder / "ACME.csv").write_text("date,close\n2024-03-08,1\n")
    status, said = fetch("ACME", "THIN")
    assert (status, "ACME.csv was not fetched, or was changed since: --refresh replaces it" in said) == (1, True)
    np.testing.assert_array_equal(read_bar_folder(folder).columns(("ACME",)).close[2], [1.0])
    assert fetch("ACME", "--refresh")[0] == 0
    assert len(read_bar_folder(folder).sessions) == len(DAYS)


def test_a_disk_that_cannot_be_written_to_is_said(fetch: Fetch, folder: Path, exchange: ExchangeSite) -> None:
    (folder / ".THIN.csv.part").mkdir(parents=True)
    status, said = fetch("ACME", "THIN")
    assert (status, "THIN.csv could not be written" in said, "1 of 2 symbols are done" in said) == (1, True, True), said
    assert names_in(folder) == [".THIN.csv.part", "ACME.csv", "fetched.json"]
    folder = folder.parent / "file" / "deeper"
    folder.parent.write_text("no folder")
    status, said = fetching(exchange.url, folder)("ACME")
    assert (status, f"the folder {folder} cannot be used: Not a directory" in said) == (1, True), said


def test_two_fetches_do_not_write_to_one_folder_at_once(fetch: Fetch, folder: Path, exchange: ExchangeSite) -> None:
    fetch("ACME")
    with alone_in(folder):
        status, said = fetch("THIN")
        assert fetching(exchange.url, folder.parent / "elsewhere")("THIN")[0] == 0
    assert (status, f"another `closebell bars fetch` is writing to {folder}: wait for it" in said) == (1, True), said
    assert fetch("THIN")[0] == 0
    assert "2 there already" in fetch("ACME", "THIN")[1]


def test_a_venue_that_hangs_up_is_no_traceback(running_venue: ScriptedVenue, folder: Path) -> None:
    running_venue.will_answer(CannedReply(body='{"bars": {}}', cut_chars=4))
    status, said = fetching(running_venue.url, folder)("ACME")
    assert (status, "Traceback" in said) == (1, False)
