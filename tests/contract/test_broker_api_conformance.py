"""The checks that a user can run against Alpaca paper, run against the simulated exchange: one list for both."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from infra.local.conformance import CHECKS, BrokerUnderTest, main
from tests.contract.conftest import KEY_ID, SECRET_KEY, ExchangeSite, OpenExchange, running_exchange
from tests.contract.tiny_market import FRI, THU, ny

HOURS = {"in session": ny(THU, "10:40"), "before the open": ny(FRI, "07:00"), "in the evening": ny(THU, "19:30")}


@pytest.fixture(scope="module", params=HOURS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerUnderTest]:
    """One exchange for all checks, as Alpaca is: each cleans up after itself. Settling moves the virtual clock."""
    with running_exchange(tmp_path_factory.mktemp("exchange"), HOURS[request.param], rate_limit=10_000) as site:

        def settle() -> None:
            site.advance(site.venue.exchange.now + timedelta(seconds=2))

        yield BrokerUnderTest(site.url, site.url, KEY_ID, SECRET_KEY, settle, symbol="ACME")


@pytest.mark.parametrize("name", CHECKS)
def test_the_simulated_exchange_behaves_as_alpaca(name: str, broker: BrokerUnderTest) -> None:
    finding = CHECKS[name](broker)
    assert finding.seen == finding.expected


def _environment(monkeypatch: pytest.MonkeyPatch, site: ExchangeSite) -> None:
    for name, value in {
        "ALPACA_KEY_ID": KEY_ID,
        "ALPACA_SECRET_KEY": SECRET_KEY,
        "ALPACA_TRADING_URL": site.url,
        "ALPACA_DATA_URL": site.url,
        "CONFORMANCE_SYMBOL": "ACME",
    }.items():
        monkeypatch.setenv(name, value)


def test_the_script_prints_a_line_for_each_check(
    site: ExchangeSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _environment(monkeypatch, site)
    now = site.venue.exchange.now
    monkeypatch.setattr("infra.local.conformance.wait", lambda: site.advance(site.venue.exchange.now + timedelta(seconds=2)))
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(CHECKS)} of {len(CHECKS)} checks hold"
    assert len(lines) == len(CHECKS) + 1
    assert all(line.startswith("ok  ") for line in lines[:-1])
    assert site.venue.exchange.now > now
    assert site.venue.exchange.floor.book.activities == []
    assert list(site.venue.exchange.floor.orders.all_live()) == []


def test_the_script_touches_no_account_that_is_not_a_paper_account(
    open_exchange: OpenExchange, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = open_exchange(account_number="123456789")
    _environment(monkeypatch, site)
    assert main() == 2
    assert "not a paper account" in capsys.readouterr().err
    assert site.venue.exchange.floor.orders.orders == {}


def test_the_script_needs_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("ALPACA_KEY_ID", raising=False)
    assert main() == 2
    assert "ALPACA_KEY_ID" in capsys.readouterr().err


def test_a_check_that_does_not_hold_is_named_and_fails_the_script(
    open_exchange: OpenExchange, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = open_exchange()
    _environment(monkeypatch, site)
    site.control("POST", "/restrict", {"restriction": "blocked"})
    monkeypatch.setattr("infra.local.conformance.wait", lambda: None)
    assert main() == 1
    assert "FAIL canceling twice is no error: expected" in capsys.readouterr().out
