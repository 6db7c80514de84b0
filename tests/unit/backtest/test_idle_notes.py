"""What is told of a backtest that traded nothing: which votes or which check it was for."""

from dataclasses import replace
from decimal import Decimal

import numpy as np

from closebell.backtest.records import BacktestRecords
from closebell.backtest.run import Costs, run_backtest
from closebell.model.panel import BarPanel
from closebell.model.parameters import EntryTerms, ParameterSet, RiskLimits
from tests.unit.backtest.markets import market_of, parameters_of, seeded_panel

CASH_USD = Decimal(100_000)
PANEL = seeded_panel(8, 320, 6)


def traded(parameters: ParameterSet, panel: BarPanel = PANEL, costs: Costs | None = None) -> BacktestRecords:
    return run_backtest(market_of(panel), parameters, (costs or Costs()).options(CASH_USD))


def idle_of(records: BacktestRecords) -> list[str]:
    return [note for note in records.warnings if note.startswith("nothing was traded: ")]


def test_where_nothing_gets_the_votes_it_is_told_how_many_are_asked_for_and_were_had() -> None:
    parameters = parameters_of(PANEL, "momentum", "rsi", "mean_reversion", "macd", "sma_cross")
    records = traded(parameters.model_copy(update={"votes_to_act_count_min": 5}))
    assert records.orders == []
    (told,) = idle_of(records)
    count = len(records.equity)
    assert told == (
        f"nothing was traded: in {count} of {count} sessions no symbol got the 5 votes to buy, and none to sell, that "
        "votes_to_act_count_min asks for (the most to buy were 4)"
    )


def test_where_a_check_denies_every_entry_it_is_named_with_how_often() -> None:
    records = traded(parameters_of(PANEL, "momentum", "rsi", limits=RiskLimits(notional_usd_min=Decimal(50_000))))
    assert records.orders == []
    (told,) = idle_of(records)
    count = len(records.equity)
    parts = told.removeprefix("nothing was traded: ").split("; ")
    counts = [int(part.split()[1]) for part in parts]
    assert sum(counts) == count, "an evening has its votes or has not"
    assert parts[-1].startswith(f"in {counts[-1]} of {count} sessions a check denied what was to be bought first: ")
    assert parts[-1].endswith(f": minimum_notional {counts[-1]}")


def test_orders_that_find_no_price_are_told() -> None:
    """Prices rise by 3 % a session: no limit one percent above the last close is ever met."""
    rising = np.round(10 * 1.03 ** np.arange(len(PANEL.sessions))[:, None] + np.zeros(PANEL.close.shape), 2)
    panel = replace(PANEL, open=rising, high=rising, low=rising, close=rising)
    terms = EntryTerms(use_limit=True, limit_offset_frac=Decimal("0.01"))
    records = traded(parameters_of(panel, "momentum").model_copy(update={"entries": terms}), panel)
    assert records.orders
    (told,) = idle_of(records)
    assert told.startswith(f"nothing was traded: none of {len(records.orders)} orders found a price that it takes, or volume")


def test_orders_that_no_print_has_a_share_for_are_told_of_the_capacity() -> None:
    records = traded(parameters_of(PANEL, "momentum"), costs=Costs(capacity_frac=Decimal("1e-9")))
    assert records.orders
    (told,) = idle_of(records)
    assert "orders found a price that it takes, or volume (--capacity)" in told


def test_a_backtest_that_trades_has_no_such_note_and_asks_nothing_again() -> None:
    records = traded(parameters_of(PANEL, "momentum", "rsi"))
    assert records.trades
    assert idle_of(records) == []
