"""The one line that tells a human why."""

from decimal import Decimal

from closebell.decision.vote import Ballot
from closebell.model.decision import Allocation, CheckResult, Regime, Stance, Trend
from closebell.model.parameters import ExitTerms


def why_entered(ballot: Ballot, regime: Regime, allocation: Allocation, exits: ExitTerms) -> str:
    """Who wants it, in which market, how much of it and how it ends."""
    size = f"{percent(allocation.weight_frac)} of equity, bound by {allocation.binding.replace('_', ' ')}"
    end = f"stop {percent(exits.stop_loss_frac)} below, target {percent(exits.take_profit_frac)} above"
    return f"{_agreement(ballot)} in a {_market(regime)}; {size}; {end}, out after {in_sessions(exits.time_stop_sessions)}"


def why_denied(ballot: Ballot, failed: CheckResult) -> str:
    """Who wants it, and the check that said no with its number and limit."""
    return f"{_agreement(ballot)}, but {check_words(failed)}"


def check_words(result: CheckResult) -> str:
    """A failed check: `positions: 6 against a limit of 5 positions`."""
    name, note = result.check.replace("_", " "), f" ({result.note})" if result.note else ""
    if result.measured is None:
        return f"{name} cannot be judged{note}"
    return f"{name}: {result.measured.normalize():f} against a limit of {result.limit.normalize():f} {result.unit}{note}"


def why_not_bought(ballot: Ballot, votes_to_act_count_min: int) -> str:
    """Why the votes on a symbol that nobody holds lead to no purchase."""
    buyers, sellers = ballot.names(Stance.BUY), ballot.names(Stance.SELL)
    if not ballot.votes:
        return "no strategy has enough history"
    if buyers and sellers:
        return f"conflict: {len(buyers)} buy ({', '.join(buyers)}), {len(sellers)} sell ({', '.join(sellers)})"
    if buyers:
        return f"only {len(buyers)} of the {votes_to_act_count_min} votes needed to buy ({', '.join(buyers)})"
    if sellers:
        return f"avoid: {len(sellers)} would sell ({', '.join(sellers)})"
    return "no strategy has an opinion"


def percent(fraction: Decimal) -> str:
    """A fraction for a human: 0.03 is `3 %`, 0.1905 is `19.1 %`."""
    return f"{round(fraction * 100, 1).normalize():f} %"


def in_sessions(count: int) -> str:
    """A span for a human: `1 session`, `5 sessions`."""
    return f"{count} session{'' if count == 1 else 's'}"


def _agreement(ballot: Ballot) -> str:
    return f"{len(ballot.names(Stance.BUY))} of {len(ballot.votes)} would buy ({ballot.words})"


def _market(regime: Regime) -> str:
    trend = "market of unknown trend" if regime.trend is Trend.UNKNOWN else f"{regime.trend} market"
    return f"{trend} of {regime.volatility} volatility"
