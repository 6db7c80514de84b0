"""Counting votes."""

import numpy as np
import pytest

from closebell.decision.vote import STANCE_SCORE_MIN, ballot, tally
from closebell.decision.words import why_not_bought
from closebell.model.decision import Stance

NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "stance"),
    [
        ((0.5, 0.5, 0.0), 1), ((0.2, 0.2, 0.19), 1), ((0.5, 0.19, 0.0), 0), ((0.5, 0.5, -0.2), 0), ((0.5, 0.5, -0.19), 1),
        ((-0.5, -0.5, 0.0), -1), ((-0.5, -0.5, 0.2), 0), ((-0.5, -0.1, 0.0), 0), ((0.5, 0.5, NAN), 1), ((0.5, NAN, NAN), 0),
        ((NAN, NAN, NAN), 0), ((1.0, 1.0, -1.0), 0), ((0.0, 0.0, 0.0), 0),
    ],
)
def test_two_agree_and_none_opposes(scores: tuple[float, ...], stance: int) -> None:
    assert tally([np.array([score]) for score in scores], 2).stance.tolist() == [stance]


@pytest.mark.parametrize(("votes_needed", "stance"), [(1, 1), (2, 1), (3, 0)])
def test_how_many_must_agree_is_the_owners_choice(votes_needed: int, stance: int) -> None:
    assert tally([np.array([0.9]), np.array([0.9]), np.array([0.0])], votes_needed).stance.tolist() == [stance]


def test_a_whole_panel_is_counted_as_its_rows_are() -> None:
    scores = [np.random.default_rng(seed).uniform(-1, 1, (40, 9)) for seed in range(5)]
    scores[1][3] = NAN
    whole = tally(scores, 2)
    for row in range(40):
        alone = tally([score[row] for score in scores], 2)
        np.testing.assert_array_equal(alone.stance, whole.stance[row])
        np.testing.assert_array_equal(alone.vote_score, whole.vote_score[row])
        np.testing.assert_array_equal(alone.buys, whole.buys[row])
        np.testing.assert_array_equal(alone.sells, whole.sells[row])


def test_a_strategy_that_cannot_know_counts_as_nothing_in_the_score() -> None:
    assert tally([np.array([0.9]), np.array([0.3]), np.array([NAN])], 2).vote_score.tolist() == [0.4]


def test_a_ballot_names_who_votes_how_and_leaves_out_who_cannot_know() -> None:
    votes = ballot({"rsi": 0.5, "macd": -0.31, "momentum": 0.1, "sma_cross": NAN}, 0, 0.1)
    assert [(vote.strategy, vote.stance) for vote in votes.votes] == [
        ("rsi", Stance.BUY), ("macd", Stance.SELL), ("momentum", Stance.NEUTRAL),
    ]
    assert votes.words == "rsi +0.50, macd -0.31"
    assert votes.names(Stance.BUY) == ("rsi",)


def test_ballots_and_tallies_draw_the_line_at_the_same_score() -> None:
    nearly = float(np.nextafter(STANCE_SCORE_MIN, 0.0))
    stances = {STANCE_SCORE_MIN: (1, Stance.BUY), nearly: (0, Stance.NEUTRAL), -STANCE_SCORE_MIN: (-1, Stance.SELL)}
    for score, (counted, stance) in (stances | {-nearly: (0, Stance.NEUTRAL)}).items():
        assert tally([np.array([score])], 1).stance.tolist() == [counted]
        assert ballot({"rsi": score}, counted, 0.0).votes[0].stance is stance


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({}, "no strategy has enough history"),
        ({"rsi": 0.1, "macd": 0.0}, "no strategy has an opinion"),
        ({"rsi": 0.3, "macd": 0.0}, "only 1 of the 2 votes needed to buy (rsi)"),
        ({"rsi": -0.3, "macd": -0.4}, "avoid: 2 would sell (rsi, macd)"),
        ({"rsi": 0.3, "macd": 0.4, "momentum": -0.9}, "conflict: 2 buy (rsi, macd), 1 sell (momentum)"),
    ],
)
def test_why_not_is_one_line(scores: dict[str, float], reason: str) -> None:
    assert why_not_bought(ballot(scores, 0, 0.0), 2) == reason
