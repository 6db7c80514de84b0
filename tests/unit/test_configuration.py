"""Reading the owner's configuration: what it says is what the desk does, and a mistake is named with its mend."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closebell.configuration import SECTORS, read_parameters
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Instrument, Market
from closebell.model.parameters import ParameterSet, RiskLimits

STRATEGIES = ("sma_cross", "rsi", "macd", "mean_reversion", "momentum")
UNIVERSE = '[universe]\nenergy = ["XOM"]\n'


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_parameters(text, STRATEGIES)
    return str(caught.value)


def test_what_is_left_out_keeps_its_default() -> None:
    universe = (Instrument(symbol="XOM", sector="energy"),)
    assert read_parameters(UNIVERSE, STRATEGIES) == ParameterSet(universe=universe)


def test_what_is_written_is_what_the_desk_gets() -> None:
    parameters = read_parameters(
        'strategies = ["rsi", "macd"]\nregime_symbol = "QQQ"\n'
        "[limits]\npositions_count_max = 3\ndaily_loss_frac_max = 0.02\nnotional_usd_min = 250\n"
        "[entries]\nuse_limit = true\n" + UNIVERSE,
        STRATEGIES,
    )
    assert parameters.strategies == ("rsi", "macd")
    assert parameters.regime_symbol == "QQQ"
    limits = RiskLimits(positions_count_max=3, daily_loss_frac_max=Decimal("0.02"), notional_usd_min=Decimal(250))
    assert parameters.limits == limits
    assert parameters.entries.use_limit


def test_fractions_are_exact_decimals_of_what_was_written() -> None:
    assert str(read_parameters("[exits]\nstop_loss_frac = 0.07\n" + UNIVERSE, STRATEGIES).exits.stop_loss_frac) == "0.07"


def test_pairs_trade_on_the_crypto_market_and_stocks_on_the_other() -> None:
    parameters = read_parameters('[universe]\nenergy = ["XOM"]\ncrypto = ["BTC/USD"]\nfinancials = ["BRK.B"]\n', STRATEGIES)
    assert [instrument.symbol for instrument in parameters.instruments(Market.CRYPTO)] == ["BTC/USD"]
    assert [instrument.symbol for instrument in parameters.instruments(Market.US_EQUITY)] == ["XOM", "BRK.B"]


def test_a_typo_in_a_key_is_named_with_its_line_and_the_likely_meaning() -> None:
    message = refusal(UNIVERSE + "[limits]\npositions_cuont_max = 3\n")
    assert "limits.positions_cuont_max (line 4): unknown key; did you mean positions_count_max?" in message
    assert "daily_loss_frac_max" in message, "the allowed keys are listed"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("positions_count_max = 0", "limits.positions_count_max (line 4) is 0; it takes a whole number at least 1, at most 100"),
        ("positions_count_max = 2.5", "is 2.5; it takes a whole number"),
        ("positions_count_max = true", "is true; it takes a whole number"),
        ("daily_loss_frac_max = 5", "limits.daily_loss_frac_max (line 4) is 5; it takes a number above 0, at most 1"),
        ("daily_loss_frac_max = nan", "is NaN; it takes a number above 0, at most 1"),
        ("daily_loss_frac_max = 'much'", "it takes a number"),
        ("daily_loss_frac_max = true", "it takes a number"),
        ("daily_loss_frac_max = '0.05'", 'limits.daily_loss_frac_max (line 4) is "0.05"; it takes a number above 0, at most 1'),
        ("notional_usd_min = 0.5", "it takes a number at least 1"),
        ("risk_per_trade_frac_min = 0.9", "risk_per_trade_frac_min is above risk_per_trade_frac_max"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_with_what_is_allowed(line: str, complaint: str) -> None:
    assert complaint in refusal(f"{UNIVERSE}[limits]\n{line}\n")


def test_an_unknown_sector_is_named_with_the_likely_one() -> None:
    message = refusal('[universe]\nhealthcare = ["JNJ"]\n')
    assert "universe.healthcare (line 2): unknown sector; did you mean health_care?" in message
    assert all(sector in message for sector in SECTORS)


def test_a_parameter_set_names_every_symbol_that_stands_twice() -> None:
    symbols = ("XOM", "AAPL", "CVX", "XOM", "AAPL", "XOM")
    with pytest.raises(ValueError, match=r"universe names AAPL, XOM more than once"):
        ParameterSet(universe=tuple(Instrument(symbol=symbol, sector="energy") for symbol in symbols))


def test_a_symbol_that_stands_twice_is_named_with_both_sectors() -> None:
    assert "universe.materials (line 3): XOM stands twice, it is already in energy" in refusal(UNIVERSE + 'materials = ["XOM"]\n')


@pytest.mark.parametrize(("sector", "symbol"), [("energy", "xom"), ("energy", "BTC/USD"), ("crypto", "BTCUSD"), ("energy", "")])
def test_a_symbol_that_cannot_be_one_is_refused(sector: str, symbol: str) -> None:
    assert f"{symbol!r} is not a symbol of {sector}; write it like" in refusal(f'[universe]\n{sector} = ["{symbol}"]\n')


def test_an_unknown_strategy_is_named_with_the_likely_one() -> None:
    message = refusal('strategies = ["rsy", "macd"]\n' + UNIVERSE)
    assert "strategies (line 1): there is no strategy 'rsy'; did you mean rsi?" in message


def test_a_strategy_votes_once() -> None:
    assert "rsi stands twice" in refusal('strategies = ["rsi", "rsi"]\n' + UNIVERSE)


def test_more_agreement_than_there_are_voters_is_refused() -> None:
    assert "votes_to_act_count_min is 2, more than strategies vote: 1" in refusal('strategies = ["rsi"]\n' + UNIVERSE)


@pytest.mark.parametrize("text", ["", "universe = []", "[universe]\n", '[[universe]]\nsymbol = "XOM"\n'])
def test_a_desk_without_a_universe_is_refused(text: str) -> None:
    assert "universe" in refusal(text)
    assert 'energy = ["XOM", "CVX"]' in refusal(text)


@pytest.mark.parametrize("symbols", ['"XOM"', "[1]", "{ a = 1 }"])
def test_a_sector_takes_a_list_of_symbols(symbols: str) -> None:
    assert "universe.energy (line 2): a sector takes a list of symbols" in refusal(f"[universe]\nenergy = {symbols}\n")


def test_a_table_where_a_value_belongs_and_the_reverse_are_refused() -> None:
    assert "limits (line 1) is 3; it takes a table" in refusal("limits = 3\n" + UNIVERSE)
    assert "strategies" in refusal(UNIVERSE + "[strategies]\nrsi = 1\n")


def test_text_that_is_not_toml_is_refused_with_its_place() -> None:
    assert "not TOML" in refusal("[limits\n")
    assert "line 1" in refusal("[limits\n")


def test_a_mark_that_an_editor_put_first_is_no_mistake() -> None:
    assert read_parameters("\ufeff" + UNIVERSE, STRATEGIES) == read_parameters(UNIVERSE, STRATEGIES)


@pytest.mark.parametrize("value", ["9" * 5_000, "0x" + "f" * 5_000, "[" * 5_000 + "]" * 5_000], ids=["decimal", "hex", "lists"])
def test_a_value_that_no_desk_can_have_is_refused_in_words(value: str) -> None:
    assert refusal(f"version_count = {value}\n{UNIVERSE}").startswith("the configuration has a number of thousands of digits")


def test_a_number_in_quotes_that_is_out_of_range_too_is_told_once() -> None:
    assert refusal(f"{UNIVERSE}[exits]\nstop_loss_frac = '7'\n").count("stop_loss_frac") == 1


def test_every_mistake_is_named_at_once() -> None:
    message = refusal(
        'strategies = ["rsy", "macd"]\n[limits]\npositions_count_max = 0\n[exits]\nstop_loss = 0.03\n'
        '[universe]\nenrgy = ["XOM"]\n'
    )
    assert "strategies (line 1)" in message
    assert "limits.positions_count_max (line 3)" in message
    assert "exits.stop_loss (line 5)" in message
    assert "universe.enrgy (line 7)" in message
    assert len(message.splitlines()) == 5


@given(st.text(alphabet='abcdefgh[]{}="\'.,#\n 0123456789\\', max_size=80))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert read_parameters(text, STRATEGIES).universe
