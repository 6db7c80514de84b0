"""The ensemble: how many strategies would buy, how many would sell, and what follows.

At least `votes_to_act_count_min` must agree and none may oppose: one strategy that would sell is enough to stop a purchase,
because a missed trade costs nothing. All of it is elementwise, for one session's symbols or for a whole panel alike.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from closebell.model.decision import Stance, Vote

STANCE_SCORE_MIN = 0.2
"""A score nearer to zero is no opinion: every strategy's scale has 1 at an extreme and noise in its first fifth."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int8]


class Tally(NamedTuple):
    """Votes counted; arrays of the shape of the scores.

    `stance` is 1 to buy, -1 to sell, 0 otherwise. `vote_score` is the mean of the scores, -1..1, a strategy that cannot know
    counting as zero: what only few can judge ranks behind what all agree on.
    """

    buys: Counts
    sells: Counts
    stance: Counts
    vote_score: Floats


def tally(scores: Sequence[Floats], votes_to_act_count_min: int) -> Tally:
    """Count the votes of strategies whose scores (one array each, equal shapes, NaN: cannot know) are given."""
    shape = scores[0].shape
    buys, sells, total = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.int8), np.zeros(shape)
    for score in scores:
        buys += score >= STANCE_SCORE_MIN
        sells += score <= -STANCE_SCORE_MIN
        total += np.where(np.isnan(score), 0.0, score)
    is_buy = (buys >= votes_to_act_count_min) & (sells == 0)
    is_sell = (sells >= votes_to_act_count_min) & (buys == 0)
    return Tally(buys, sells, is_buy.astype(np.int8) - is_sell.astype(np.int8), np.round(total / len(scores), 4) + 0.0)


NO_TALLY = tally([np.empty(0)], 1)
"""The tally of no symbols."""


class Ballot(NamedTuple):
    """The votes on one symbol. A strategy that cannot know (too little history) has no vote."""

    votes: tuple[Vote, ...]
    stance: Stance
    vote_score: float

    def names(self, stance: Stance) -> tuple[str, ...]:
        """The strategies of one opinion."""
        return tuple(vote.strategy for vote in self.votes if vote.stance is stance)

    @property
    def words(self) -> str:
        """Who votes how, with scores: `sma_cross +0.61, macd +0.40`."""
        opinions = (vote for vote in self.votes if vote.stance is not Stance.NEUTRAL)
        return ", ".join(f"{vote.strategy} {vote.conviction_score:+.2f}" for vote in opinions)


NO_BALLOT = Ballot((), Stance.NEUTRAL, 0.0)

STANCES = {1: Stance.BUY, 0: Stance.NEUTRAL, -1: Stance.SELL}
"""What the numbers of `Tally.stance` stand for."""


def ballot(scores: Mapping[str, float], stance: int, vote_score: float) -> Ballot:
    """One symbol's column of a tally as records."""
    votes = tuple(
        Vote(strategy=name, conviction_score=score, stance=STANCES[(score >= STANCE_SCORE_MIN) - (score <= -STANCE_SCORE_MIN)])
        for name, score in scores.items()
        if not math.isnan(score)
    )
    return Ballot(votes, STANCES[stance], vote_score)
