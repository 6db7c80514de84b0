"""What the owner types, and what comes back: on a desk in memory."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from closebell import cli
from closebell.app.control import read_halt
from closebell.app.desk import load_desk
from closebell.model.books import Lot, Position, PositionState
from closebell.model.broker import Side
from closebell.model.errors import ConfigurationError
from closebell.model.instruments import Market
from closebell.ports.journal import Create, Replace
from closebell.simulation.memory_archive import MemoryArchive
from closebell.simulation.memory_journal import MemoryJournal
from closebell.wiring.operator import OperatorDesk
from tests.unit.app.small_desk import bought

ROOT = Path(__file__).resolve().parents[2]


class MovableClock:
    """Implements Clock."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 5, 15, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


class Terminal:
    """The command line on a desk in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journal, self.clock = MemoryJournal(), MovableClock()
        desk = OperatorDesk(self.journal, MemoryArchive(), self.clock)
        monkeypatch.setattr(cli.desk_commands, "operator_desk", lambda stack: desk)

    def run(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli.app, [*words, "--stack", "desk"])
        return done.exit_code, done.output


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def test_a_configuration_becomes_the_current_version_and_the_same_one_stays(terminal: Terminal) -> None:
    desk_toml = str(ROOT / "examples" / "desk.toml")
    assert terminal.run("configure", desk_toml)[1].startswith("configuration version 1: ")
    assert terminal.run("configure", desk_toml)[1].startswith("configuration version 1: ")
    assert load_desk(terminal.journal).parameters.regime_symbol == "SPY"


def test_a_typo_is_named_with_its_line_and_nothing_is_stored(terminal: Terminal, tmp_path: Path) -> None:
    wrong = tmp_path / "desk.toml"
    wrong.write_text('regime_symbol = "SPY"\n[limits]\npositions_count_maks = 5\n[universe]\ntechnology = ["AAPL"]\n')
    code, told = terminal.run("configure", str(wrong))
    assert code == 1
    assert "positions_count_maks" in told
    assert "positions_count_max" in told, "it says what was probably meant"
    with pytest.raises(ConfigurationError, match="closebell configure"):
        load_desk(terminal.journal)


def test_a_missing_file_is_an_error_and_not_a_traceback(terminal: Terminal) -> None:
    code, told = terminal.run("configure", "nowhere.toml")
    assert (code, "Traceback" in told) == (1, False)
    assert "nowhere.toml" in told


def test_halt_is_idempotent_and_resume_takes_two_steps(terminal: Terminal) -> None:
    terminal.run("configure", str(ROOT / "examples" / "desk.toml"))
    assert terminal.run("halt", "earnings week") == (0, "halted\n")
    assert terminal.run("halt", "again") == (0, "was halted already\n")
    assert terminal.run("status")[1].startswith("HALTED: earnings week (by ")
    told = terminal.run("resume")[1]
    code = re.search(r"--code (\w+)", told)
    assert code
    assert load_desk(terminal.journal).is_halted, "one step does not resume"
    assert terminal.run("resume", "--code", "000000")[0] == 1
    assert terminal.run("resume", "--code", code[1])[0] == 0
    assert not load_desk(terminal.journal).is_halted


def test_a_resume_code_is_good_for_a_quarter_of_an_hour(terminal: Terminal) -> None:
    terminal.run("halt", "x")
    code = re.search(r"--code (\w+)", terminal.run("resume")[1])
    assert code
    terminal.clock.at += timedelta(minutes=16)
    assert terminal.run("resume", "--code", code[1])[0] == 1
    halt = read_halt(terminal.journal)
    assert halt is not None
    assert halt.record.is_halted


def test_resuming_a_desk_that_runs_is_refused(terminal: Terminal) -> None:
    assert terminal.run("resume")[0] == 1


def test_a_disputed_position_can_be_released_and_no_other(terminal: Terminal) -> None:
    at = terminal.clock.at
    lot = Lot(activity_id="1", quantity_shares=Decimal(7), price_usd=Decimal(100), opened_at=at)
    position = Position(
        symbol="AAA", market=Market.US_EQUITY, sector="energy", state=PositionState.OPEN, plan_id="p", lots=(lot,),
        opened_session=at.date(),
    )  # fmt: skip
    terminal.journal.commit([Create(position)])
    assert terminal.run("release", "AAA")[0] == 1
    terminal.journal.commit([Replace(position.model_copy(update={"state": PositionState.DISPUTED}), 1)])
    assert terminal.run("release", "aaa")[1].startswith("AAA: 7 are yours")
    stored = terminal.journal.read(position.key, Position)
    assert stored is not None
    assert (stored.record.state, stored.record.lots) == (PositionState.EXTERNAL, ())


def test_rebuild_shows_what_the_broker_has_and_wants_the_desk_halted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = bought(date(2018, 10, 2), ["100", "100", "100"])
    desk.exchange.trade_manually("AAA", Side.BUY, Decimal(3))
    monkeypatch.setattr(cli.desk_commands, "operator_broker", lambda stack: desk.broker)
    terminal.run("configure", str(ROOT / "examples" / "desk.toml"))
    code, told = terminal.run("rebuild")
    assert (code, "closebell halt" in told) == (1, True)
    terminal.run("halt", "the tables are lost")
    code, told = terminal.run("rebuild")
    assert code == 0
    assert re.search(r"AAA +10 ours +3 yours +open", told)
    assert "2 fills, 1 positions, 0 trades, 1 resting orders; 0 symbols differ" in told
    assert terminal.run("rebuild")[0] == 1, "there are books now"
    assert terminal.run("rebuild", "--replace")[0] == 0


def test_a_halt_needs_its_reason(terminal: Terminal) -> None:
    assert terminal.run("halt", " ")[0] == 1


def test_explain_without_decisions_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["explain", "AAPL", "--decisions", str(tmp_path)])
    assert done.exit_code == 1
    assert "make demo" in done.output


@pytest.mark.parametrize("words", [["explain", "KO"], ["replay"]])
def test_a_session_without_decisions_is_told_with_those_that_have_some(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "us_equity").mkdir()
    for day in ("2018-10-02", "2018-10-01"):
        (tmp_path / "us_equity" / f"{day}.json").touch()
    done = CliRunner().invoke(cli.app, [*words, "--session", "2018-10-06", "--decisions", f"{tmp_path}"])
    assert done.exit_code == 1
    assert "nothing was decided after 2018-10-06" in done.output
    assert "but after 2018-10-01, 2018-10-02" in done.output


def test_every_command_explains_itself() -> None:
    told = CliRunner().invoke(cli.app, ["--help"]).output
    for command in ("explain", "configure", "halt", "resume", "status"):
        assert command in told


def test_no_word_of_a_help_is_taken_for_a_picture() -> None:
    for known in cli.app.registered_commands:
        command = f"{known.name or getattr(known.callback, '__name__', '')}"
        told = CliRunner().invoke(cli.app, [command, "--help"]).output
        assert "Usage" in told, command
        assert all(ord(sign) < 0x2600 for sign in told), command
