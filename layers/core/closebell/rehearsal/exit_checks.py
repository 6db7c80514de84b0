"""Why a position is left: the rule that is stored must be true on the evidence that is stored, decided once more from it."""

from decimal import Decimal

from closebell.model.books import Position
from closebell.model.decision import ExitRule, Outcome, PlanAction, PlanSet, Stance, TradePlan
from closebell.model.decision_document import DecisionDocument
from closebell.model.panel import BarPanel
from closebell.model.record import Key
from closebell.rehearsal.faulty_stores import FaultyArchive
from closebell.rehearsal.stage import Stage
from closebell.rehearsal.watched_journal import WatchedJournal
from closebell.strategies import score_all

CENT = Decimal("0.01")
_SCORE_NOISE = 0.00011
_SELL_BELOW_SCORE = -0.2


class ExitChecks:
    """Invariant 12, when a position begins to close."""

    def __init__(self, stage: Stage, raw: WatchedJournal, archive: FaultyArchive) -> None:
        self._stage, self._raw, self._archive = stage, raw, archive

    def on_begin(self, position: Position) -> None:
        """Look at a position that has just become CLOSING."""
        rule = position.exit_rule
        if rule in {ExitRule.STOP, ExitRule.TARGET}:
            self._price_is_there(position)
        elif rule in {ExitRule.SIGNAL, ExitRule.TIME_STOP}:
            self._was_decided(position)
        else:
            self._complain(position, "no rule of the desk leaves a position so")

    def _price_is_there(self, position: Position) -> None:
        price = self._stage.exchange.tape.last_price_usd(position.symbol, self._stage.now)
        cost = position.average_entry_price_usd
        stop, target = cost * (1 - (position.stop_loss_frac or 0)), cost * (1 + (position.take_profit_frac or 0))
        is_true = price is not None and (
            price <= stop + CENT if position.exit_rule is ExitRule.STOP else price >= target - CENT
        )
        if not is_true:
            self._complain(position, f"the price is {price}, the stop {stop:.4f}, the target {target:.4f}")

    def _was_decided(self, position: Position) -> None:
        session = position.market.date_of(self._stage.now)
        plan = self._raw.at(Key("journal", f"PLAN#{position.market}#{session}", position.exit_plan_id), TradePlan)
        header = self._raw.at(Key("journal", f"PLANSET#{position.market}", f"{session}"), PlanSet)
        content = self._archive.peek(header.decisions_archive) if header is not None else None
        if plan is None or content is None or (plan.action, plan.exit_rule) != (PlanAction.EXIT, position.exit_rule):
            self._complain(position, f"no plan of {session} says so")
            return
        document = DecisionDocument.model_validate_json(content)
        held, minimum = document.sessions_held.get(position.symbol, 0), position.minimum_hold_sessions or 0
        decided = next(one for one in document.decisions if one.symbol == position.symbol)
        if decided.outcome is not Outcome.EXIT or held < minimum:
            self._complain(position, f"{decided.outcome} was decided after {held} sessions of at least {minimum}")
        elif position.exit_rule is ExitRule.TIME_STOP and held < (position.time_stop_sessions or 0):
            self._complain(position, f"the time stop is at {position.time_stop_sessions} sessions, {held} were held")
        elif position.exit_rule is ExitRule.SIGNAL:
            self._signal_is_there(position, document)

    def _signal_is_there(self, position: Position, document: DecisionDocument) -> None:
        """Score the archived bars once more."""
        content = self._archive.peek(document.bars_archive)
        panel = BarPanel.from_npz(content).columns((position.symbol,)) if content is not None else None
        if panel is None:
            self._complain(position, "the bars it was decided on are not archived")
            return
        scores = {name: float(matrix[-1, 0]) for name, matrix in score_all(document.parameters.strategies, panel).items()}
        decided = next(one for one in document.decisions if one.symbol == position.symbol)
        stored = {vote.strategy: vote.conviction_score for vote in decided.votes}
        sellers = [name for name, score in scores.items() if score <= _SELL_BELOW_SCORE]
        same = stored.keys() == scores.keys() and all(abs(stored[name] - scores[name]) < _SCORE_NOISE for name in scores)
        if not same or decided.stance is not Stance.SELL or len(sellers) < document.parameters.votes_to_act_count_min:
            self._complain(position, f"its archived bars score {scores}, the decision has {stored} ({decided.stance})")

    def _complain(self, position: Position, why: str) -> None:
        left_by = f"{position.symbol} is left by {position.exit_rule or 'no rule'} ({position.exit_reason})"
        self._stage.violated(12, f"{left_by}: {why}")
