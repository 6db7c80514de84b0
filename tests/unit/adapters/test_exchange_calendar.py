"""The exchange calendar against dates known from elsewhere."""

import gzip
import importlib.util
from datetime import UTC, date, datetime
from pathlib import Path

import exchange_calendars
import pytest

from closebell.adapters.exchange_calendar import ExchangeCalendar
from closebell.model.instruments import Market, SessionHours


def equity(first: date, last: date) -> list[SessionHours]:
    return ExchangeCalendar().sessions(Market.US_EQUITY, first, last)


def on(session: date) -> SessionHours:
    (hours,) = equity(session, session)
    return hours


def test_sessions_are_the_dates_of_the_real_index_history() -> None:
    spec = importlib.util.find_spec("arch")
    assert spec is not None
    assert spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0], "data/sp500/sp500.csv.gz")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    dates = [datetime.strptime(line.split(",")[0], "%m/%d/%Y").replace(tzinfo=UTC).date() for line in lines[1:]]
    assert [hours.session for hours in equity(date(1999, 1, 1), date(2018, 12, 31))] == dates


def test_thanksgiving_week_2018_has_a_holiday_and_a_half_day() -> None:
    week = equity(date(2018, 11, 19), date(2018, 11, 25))
    assert [hours.session.day for hours in week] == [19, 20, 21, 23]
    assert week[-1].opens_at == datetime(2018, 11, 23, 14, 30, tzinfo=UTC)
    assert week[-1].closes_at == datetime(2018, 11, 23, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "closed",
    [
        date(2018, 12, 5),  # the day of mourning for a president
        date(2012, 10, 29), date(2012, 10, 30),  # a hurricane
        date(2022, 6, 20), date(2024, 6, 19),  # Juneteenth, the first one on the Monday after a Sunday
        date(2021, 12, 24),  # Christmas Day was a Saturday
        date(2026, 4, 3),  # Good Friday
        date(2018, 12, 8),  # a Saturday
    ],
    ids=str,
)
def test_no_session_when_the_exchange_is_closed(closed: date) -> None:
    assert equity(closed, closed) == []


def test_juneteenth_was_a_session_before_it_was_a_holiday() -> None:
    assert on(date(2020, 6, 19)).session == date(2020, 6, 19)


@pytest.mark.parametrize(
    ("session", "opens_hour", "closes_hour"),
    [
        (date(2018, 3, 9), 14, 21), (date(2018, 3, 12), 13, 20),  # clocks went forward on Sunday the 11th
        (date(2018, 11, 2), 13, 20), (date(2018, 11, 5), 14, 21),  # and back on Sunday the 4th
    ],
    ids=str,
)
def test_daylight_saving_moves_the_session_in_utc(session: date, opens_hour: int, closes_hour: int) -> None:
    hours = on(session)
    assert hours.opens_at == datetime(session.year, session.month, session.day, opens_hour, 30, tzinfo=UTC)
    assert hours.closes_at == datetime(session.year, session.month, session.day, closes_hour, 0, tzinfo=UTC)


def test_instants_are_plain_datetimes_in_utc() -> None:
    hours = on(date(2018, 11, 23))
    for at in (hours.opens_at, hours.closes_at):
        assert type(at) is datetime
        assert at.tzinfo is UTC
    assert type(hours.session) is date


def test_a_calendar_answers_alike_after_wider_and_narrower_requests() -> None:
    calendar = ExchangeCalendar()
    narrow = calendar.sessions(Market.US_EQUITY, date(2018, 6, 1), date(2018, 6, 30))
    wide = calendar.sessions(Market.US_EQUITY, date(2016, 1, 1), date(2020, 12, 31))
    assert len(wide) == 252 + 251 + 251 + 252 + 253
    assert calendar.sessions(Market.US_EQUITY, date(2018, 6, 1), date(2018, 6, 30)) == narrow
    assert calendar.sessions(Market.US_EQUITY, date(2024, 7, 3), date(2024, 7, 5)) == equity(date(2024, 7, 3), date(2024, 7, 5))


def test_the_same_years_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compute, computed = exchange_calendars.get_calendar, []

    def counted(name: str, start: str, end: str) -> object:
        computed.append((start, end))
        return compute(name, start=start, end=end)

    monkeypatch.setattr(exchange_calendars, "get_calendar", counted)
    calendar = ExchangeCalendar()
    for first, last in ((2018, 2018), (2019, 2020), (2018, 2019), (2020, 2020)):
        calendar.sessions(Market.US_EQUITY, date(first, 3, 1), date(last, 9, 1))
    assert computed == [("2018-01-01", "2018-12-31"), ("2018-01-01", "2020-12-31")]


@pytest.mark.parametrize("market", Market)
def test_a_range_that_ends_before_it_begins_has_no_sessions(market: Market) -> None:
    assert ExchangeCalendar().sessions(market, date(2018, 6, 2), date(2018, 6, 1)) == []


def test_crypto_trades_every_utc_day_from_midnight_to_midnight() -> None:
    days = ExchangeCalendar().sessions(Market.CRYPTO, date(2018, 12, 30), date(2019, 1, 2))
    assert [hours.session for hours in days] == [date(2018, 12, 30), date(2018, 12, 31), date(2019, 1, 1), date(2019, 1, 2)]
    assert days[1].opens_at == days[0].closes_at == datetime(2018, 12, 31, tzinfo=UTC)
    assert days[1].closes_at == datetime(2019, 1, 1, tzinfo=UTC)
