"""What a reader is told of the universe: what could not be judged, by name, and only advice that can be followed."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from closebell.app.evidence import SessionPair
from closebell.backtest.desk.known_evidence import KnownEvidence
from closebell.backtest.notes.evidence import bar_notes, not_yet_note, universe_notes
from closebell.backtest.run import Costs, default_parameters, run_backtest
from closebell.decision.sizing import risk_budget_frac
from closebell.model.decision import Trend, Volatility
from closebell.model.instruments import Market
from closebell.model.panel import FIELDS, BarPanel
from closebell.model.parameters import ParameterSet
from closebell.simulation.bar_market import BarMarket, hours_of
from tests.unit.backtest.markets import CALENDAR, coin_market, coin_panel, market_of, parameters_of, seeded_panel
from tests.unit.backtest.panel_events import without

FIRST_ROW, SESSIONS_COUNT = 220, 260


def unlisted(panel: BarPanel, column: int, rows: slice) -> BarPanel:
    """The panel without a symbol's bars of some rows."""
    return without(panel, FIELDS, rows, column)


def closes_alone(panel: BarPanel) -> BarPanel:
    """The panel with nothing but its closes."""
    for column in range(len(panel.symbols)):
        panel = without(panel, ("open", "high", "low", "volume"), slice(None), column)
    return panel


def pair_at(panel: BarPanel, row: int) -> SessionPair:
    """The session of a row and the next one, with all before as the window."""
    hours = hours_of(CALENDAR, panel)
    return SessionPair(hours[row], hours[row + 1], tuple(panel.days[: row + 1]), tuple(panel.days))


def notes_of(panel: BarPanel, parameters: ParameterSet | None = None) -> tuple[str, ...]:
    """The notes of the sessions from the 220th on, without the one of the regime, whose symbol no panel here has."""
    evidence = KnownEvidence(market_of(panel), parameters or default_parameters(panel, ("momentum",)))
    notes = universe_notes(evidence, panel.days[FIRST_ROW], panel.days[-1])
    return tuple(note for note in notes if "regime" not in note)


def test_of_bars_that_are_whole_nothing_is_told() -> None:
    assert notes_of(seeded_panel(1, SESSIONS_COUNT, 4)) == ()


def test_symbols_that_were_never_judged_are_named_with_their_bars() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 4)
    days = panel.days
    panel = unlisted(unlisted(panel, 1, slice(1, None)), 2, slice(200, None))
    panel = unlisted(panel, 3, slice(0, -2))
    assert notes_of(panel) == (
        f"never judged, so never bought: S01 (1 bar, {days[0]}), S02 (200 bars, {days[0]} to {days[199]}), "
        f"S03 (2 bars, {days[-2]} to {days[-1]}); not listed, too little history, holes or faults",
    )


def test_a_symbol_that_was_judged_once_or_has_no_file_is_not_among_them() -> None:
    panel = unlisted(seeded_panel(1, SESSIONS_COUNT, 4), 2, slice(FIRST_ROW, None))
    assert notes_of(panel) == ()
    assert notes_of(panel.columns(panel.symbols[:2]), default_parameters(panel, ("momentum",))) == (
        "no bars of S02, S03: skipped in every session",
    )


def test_of_many_that_were_never_judged_five_are_named() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 8)
    for column in range(1, 8):
        panel = unlisted(panel, column, slice(100, None))
    (told,) = notes_of(panel)
    assert told.count("100 bars") == 5
    assert "S05 (100 bars" in told
    assert " and 2 more symbols; not listed" in told


def test_where_nothing_can_be_judged_no_limit_is_to_be_lowered() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 2)
    for column in range(2):
        panel = unlisted(panel, column, slice(100, -1))
    reasons = "not listed, too little history, holes or faults"
    assert notes_of(panel) == (f"in 40 of 40 sessions the desk bought nothing, as it could judge no symbol at all: {reasons}",)


@pytest.mark.parametrize(("least", "words"), [("0.8", "80%"), ("0.505", "50.5%")])
def test_where_some_can_be_judged_the_limit_is_told_to_its_last_digit(least: str, words: str) -> None:
    panel = unlisted(seeded_panel(1, SESSIONS_COUNT, 4), 1, slice(FIRST_ROW, None))
    panel = unlisted(unlisted(panel, 2, slice(FIRST_ROW, None)), 3, slice(FIRST_ROW, None))
    parameters = default_parameters(panel, ("momentum",))
    limits = parameters.limits.model_copy(update={"universe_coverage_frac_min": Decimal(least)})
    (told,) = notes_of(panel, parameters.model_copy(update={"limits": limits}))
    assert told.startswith(f"in 39 of 40 sessions the desk bought nothing, as it could judge less than {words} of the universe")
    assert told.endswith("Lower limits.universe_coverage_frac_min if that is right")


def test_a_symbol_that_left_counts_only_where_it_is_traded() -> None:
    panel = unlisted(seeded_panel(1, SESSIONS_COUNT, 6), 5, slice(100, None))
    whole, alive = (default_parameters(known, ("momentum",)) for known in (panel, panel.columns(panel.symbols[:5])))
    assert bar_notes(market_of(panel), whole, ()) == ()
    (told,) = bar_notes(market_of(panel), alive, ())
    assert told.startswith("survivorship: all 5 symbols of the universe trade to the end of 2012-01-03 to ")


def test_bars_of_which_nothing_is_traded_have_no_survivors() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 6)
    others = default_parameters(replace(panel, symbols=tuple("ABCDEF")), ("momentum",))
    assert bar_notes(market_of(panel), others, ()) == ()


def test_what_was_not_read_is_told_before_what_the_bars_lack() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 6)
    parameters = default_parameters(panel, ("momentum",))
    first, second = bar_notes(market_of(panel), parameters, ("left out: AAA.csv.gz",))
    assert first == "left out: AAA.csv.gz"
    assert second.startswith("survivorship")


@pytest.mark.parametrize("closes", [{}, {date(2012, 1, 3): Decimal(20)}])
def test_without_the_regimes_symbol_its_name_what_follows_and_its_file_are_told(closes: dict[date, Decimal]) -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 2)
    market = BarMarket(panel, hours_of(CALENDAR, panel), volatility_closes=closes)
    parameters = default_parameters(panel, ("momentum",))
    (told,) = universe_notes(KnownEvidence(market, parameters), panel.days[FIRST_ROW], panel.days[-1])
    unknown = "trend counts" if closes else "trend and volatility count"
    assert told == (
        f"no bars of SPY (regime_symbol): the market's {unknown} as unknown, so each trade risks at most 1% of equity "
        "(limits.risk_per_trade_frac_min); add SPY.csv to the bars"
    )


def test_an_exposure_that_only_margin_reaches_is_told() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 2)
    parameters = default_parameters(panel, ("momentum",))
    limits = {frac: parameters.limits.model_copy(update={"gross_exposure_frac_max": Decimal(frac)}) for frac in ("1.00", "1.50")}
    told = {frac: notes_of(panel, parameters.model_copy(update={"limits": limit})) for frac, limit in limits.items()}
    assert told["1.00"] == ()
    (note,) = told["1.50"]
    assert note.startswith("limits.gross_exposure_frac_max is 1.5, and a backtest's account has no margin")


def test_of_coins_the_regimes_symbol_is_named_as_its_file_is() -> None:
    panel = coin_panel(1, SESSIONS_COUNT, ("ETH/USD",))
    evidence = KnownEvidence(coin_market(panel), default_parameters(panel, ("momentum",), Market.CRYPTO))
    (told,) = universe_notes(evidence, panel.days[FIRST_ROW], panel.days[-1])
    assert told.startswith("no bars of BTC/USD (crypto_regime_symbol): the market's trend and volatility count as unknown")
    assert told.endswith("; add BTC-USD.csv to the bars")


def test_what_the_note_says_of_the_risk_is_what_is_risked() -> None:
    panel = seeded_panel(1, SESSIONS_COUNT, 2)
    parameters = default_parameters(panel, ("momentum",))
    evidence = KnownEvidence(market_of(panel), parameters)
    evidence.read(Market.US_EQUITY, parameters, pair_at(panel, FIRST_ROW))
    (regime,) = evidence.regimes.values()
    assert (regime.trend, regime.volatility) == (Trend.UNKNOWN, Volatility.UNKNOWN)
    assert risk_budget_frac(regime, parameters.limits) == parameters.limits.risk_per_trade_frac_min


def test_of_bars_with_a_close_alone_it_is_told_that_there_is_one_price_a_session() -> None:
    panel = closes_alone(seeded_panel(1, 30, 2))
    one_price, volumes = bar_notes(market_of(panel), default_parameters(panel, ("rsi",)), ())
    assert one_price.startswith("one price a session, the close: entries fill at it, stops and targets are met at closes only")
    assert volumes.startswith("no volumes: orders of any size fill, limits.volume_share_frac_max is not checked, and")


def test_where_some_have_a_close_alone_the_first_of_them_are_named() -> None:
    panel = seeded_panel(1, 30, 8)
    panel = without(panel, ("open", "high", "low"), slice(0, 2), 0)
    for column in range(2, 8):
        panel = without(panel, ("open", "high", "low", "volume"), slice(None), column)
    one_price, volumes = bar_notes(market_of(panel), default_parameters(panel, ("rsi",)), ())
    assert one_price.startswith("one price a session of S02 (of 30 of 30 bars), S03 (of 30 of 30 bars), ")
    assert " and 2 more symbols, the close: " in one_price
    assert volumes.startswith("no volumes of S02, S03, S04, S05, S06 and 1 more symbols: ")
    assert volumes.endswith("capacity_usd is that of the others")


def test_bars_with_a_close_alone_of_what_is_not_traded_are_not_told() -> None:
    panel = seeded_panel(1, 30, 2)
    whole = without(panel, ("open", "high", "low", "volume"), slice(None), 1)
    assert bar_notes(market_of(whole), default_parameters(panel.columns(panel.symbols[:1]), ("rsi",)), ()) == ()


def test_an_entry_on_closes_alone_fills_at_the_close_as_the_note_says() -> None:
    panel = closes_alone(seeded_panel(8, 320, 6))
    records = run_backtest(market_of(panel), parameters_of(panel, "momentum", "rsi"), Costs().options(Decimal(100_000)))
    assert records.trades
    for trade in records.trades:
        close = panel.close[panel.days.index(trade.opened_session), panel.symbols.index(trade.symbol)]
        assert float(trade.entry_price_usd) == close


def test_bars_of_days_to_come_are_told() -> None:
    panel = seeded_panel(1, 30, 1)
    last = panel.days[-1]
    assert not_yet_note(panel, last) == ()
    (told,) = not_yet_note(panel, last - timedelta(days=1))
    assert told.startswith(f"bars up to {last} lie after {last - timedelta(days=1)}, today")
