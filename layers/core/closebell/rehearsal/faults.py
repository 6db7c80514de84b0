"""What can go wrong in a rehearsal, by name, with the numbers of the fault catalogue that each name stands for."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault: its numbers in the catalogue, the chance that one occasion is struck, and what it does."""

    numbers: tuple[int, ...]
    chance_frac: float
    effect: str


FAULTS: dict[str, Fault] = {
    # one occasion: an order that is sent
    "timeout_before_arrival": Fault((1,), 0.04, "the order never arrives, the answer is lost"),
    "timeout_after_acceptance": Fault((2,), 0.04, "the order is taken, the answer is lost"),
    "arrives_late": Fault((3,), 0.04, "no answer, and the order reaches the exchange 1 to 480 s later"),
    "gateway_timeout_then_accepted": Fault((4,), 0.04, "504, and the order is taken within a second"),
    "garbage_reply": Fault((5,), 0.03, "the order is taken, the answer makes no sense; reads too"),
    "insufficient_buying_power": Fault((11,), 0.03, "the owner withdrew the cash a moment ago; it comes back the next morning"),
    "reject_after_accept": Fault((14,), 0.03, "the order is taken and rejected a second later"),
    "lookup_404_lag": Fault((20, 6), 0.04, "the answer is lost and the order is not found by our id for 20 to 600 s"),
    "same_id_other_parameters": Fault((7,), 0.006, "another order lies under the id to be used; it is taken out again"),
    "shares_held": Fault((12,), 0.06, "a sale is refused because a cancelled order still holds the shares"),
    "phantom_exit": Fault((13,), 0.06, "the owner sells everything of the symbol a moment before our exit arrives"),
    # one occasion: a cancel
    "slow_cancel": Fault((16,), 0.10, "a cancel takes 30 to 400 s, in which the order may fill"),
    # one occasion: any call to the broker
    "rate_limited": Fault((8,), 0.004, "429"),
    "secret_rotated": Fault((49,), 0.0006, "the key is replaced: the old one is refused from now on, the new one works"),
    "wrong_account": Fault((27,), 0.004, "the key opens an account of the other mode"),
    "key_refused": Fault((10,), 0.0004, "401: the key is not accepted"),
    "broker_unavailable": Fault((22,), 0.004, "a read answers 500"),
    # one occasion: a session
    "rate_limited_all_day": Fault((9,), 0.03, "429 to every call of a session but the clock's"),
    "account_restricted": Fault((26,), 0.04, "the account may only close, or not trade at all, for a session"),
    "gap_through_stop": Fault((24,), 0.0, "a night's jump over a stop: part of every market here, counted when it happens"),
    "symbol_halted": Fault((25,), 0.008, "a symbol does not trade from one step to the next morning"),
    "partial_then_cancel": Fault((15,), 0.35, "half of the executions are only partial in this rehearsal's exchange"),
    "half_day": Fault((33,), 0.06, "a session ends at 13:00"),
    "wrong_calendar": Fault((33,), 0.02, "our calendar lacks a session, takes a holiday for one, or has other hours"),
    "skewed_clock": Fault((51,), 0.05, "the process's clock is 5 min fast or slow for a session"),
    "clock_change": Fault((52,), 0.0, "daylight saving time begins or ends between two played sessions: half of all markets"),
    "sharp_down_day": Fault((24,), 0.10, "in this rehearsal's market everything opens 8 to 13 % lower on one day"),
    "limit_entries": Fault((15,), 0.10, "this rehearsal's owner enters by a limit for the day, not at the opening auction"),
    "busy_minute": Fault((8,), 0.02, "a run just before the morning's leaves 1 to 70 of the minute's requests"),
    "limits_typo": Fault((57,), 0.05, "the owner stores a configuration with a slip in a limit"),
    "restored_book_table": Fault((50,), 0.01, "the book table is put back to the morning before, the journal is not"),
    "tables_lost": Fault((50,), 0.01, "all tables but the control are lost: the owner halts, rebuilds from the broker, resumes"),
    # one occasion: a list read from the broker
    "fills_duplicated": Fault((18,), 0.05, "activities are listed twice"),
    "fills_out_of_order": Fault((18,), 0.05, "activities of different symbols change places, or the newest come a reading late"),
    "list_omits_order": Fault((21,), 0.05, "the list of open orders leaves one out"),
    "positions_error": Fault((22,), 0.03, "the list of positions answers 500"),
    "stale_quotes": Fault((28,), 0.06, "quotes are shown as they were 2 to 30 hours ago"),
    "positions_empty": Fault((22,), 0.03, "the list of positions is empty although there are some"),
    # one occasion: a pause between two runs
    "stop_vanished": Fault((23,), 0.006, "a resting stop of ours is gone; of an OCO only its stop leg"),
    "owner_buys": Fault((53,), 0.006, "the owner buys a symbol of the universe by hand"),
    "owner_sells": Fault((54,), 0.006, "the owner sells by hand, ours too"),
    "owner_cancels_stop": Fault((55,), 0.006, "the owner cancels a protection of ours"),
    "replaced_by_owner": Fault((17,), 0.008, "the owner replaces a resting order of ours: another limit, sometimes fewer shares"),
    "second_stack": Fault((59,), 0.002, "an order with our prefix that nobody here meant rests on the account"),
    "fill_busted": Fault((19,), 0.002, "the exchange takes back the fill that made a position"),
    "fill_corrected": Fault((19,), 0.003, "the exchange changes the price of a fill by a cent"),
    "dividend": Fault((58,), 0.004, "a dividend is paid on what is held"),
    "deposit": Fault((58,), 0.004, "money comes in"),
    "withdrawal": Fault((58,), 0.004, "money leaves: up to a fifth of the cash"),
    "owner_halts": Fault((56,), 0.003, "the owner halts, between two runs or during one; resumed the next morning"),
    # one occasion: an evening's bars
    "stale_bar": Fault((28, 34), 0.06, "the newest bar is missing, of one symbol, of half or of all"),
    "missing_symbol": Fault((29, 32), 0.06, "a symbol has no bars at all"),
    "bad_number_bar": Fault((30,), 0.06, "a NaN, a zero or a negative price in the newest bar"),
    "price_times_100": Fault((31,), 0.06, "a symbol's prices are a hundredfold: the newest one or all"),
    "revised_history": Fault((36,), 0.06, "old closes are revised"),
    "share_split": Fault((31,), 0.02, "a symbol splits: 2, 3 or 1.5 for 1; neither resting stops nor plans are adjusted"),
    "vix_down": Fault((34,), 0.10, "the volatility index cannot be read"),
    "news_down": Fault((35,), 0.10, "the headlines cannot be read"),
    "hostile_news": Fault((35,), 0.30, "a headline holds HTML, a formula and an instruction"),
    # one occasion: a scheduled run
    "duplicate_invocation": Fault((37,), 0.06, "the run is delivered twice"),
    "missed_schedule": Fault((39,), 0.03, "the run is not delivered"),
    "delivered_late": Fault((40,), 0.02, "the run is delivered 2 to 90 min late, or a day"),
    "dead_letter": Fault((48,), 0.01, "every try of the run fails before our code starts: it lies in the dead-letter queue"),
    "old_version_running": Fault((46,), 0.02, "the run executes under the code's older version"),
    # one occasion: any call to a port
    "overlapping_invocation": Fault((37, 38), 0.0015, "another run starts here and ends before this call goes on"),
    "killed_at_any_line": Fault((41,), 0.002, "the process ends, before or after the call took effect; delivered again"),
    "killed_and_never_repeated": Fault((41,), 0.0008, "the process ends; a run that places or reconciles is not delivered again"),
    "three_at_once": Fault((38,), 0.0006, "another run starts here, and in the middle of that a third one"),
    # one occasion: a call to the journal
    "journal_throttled": Fault((42, 43), 0.002, "the journal refuses"),
    "journal_write_outcome_unknown": Fault((44,), 0.004, "a commit's answer is lost; it was applied or not"),
    "stale_read": Fault((45,), 0.15, "a read answers with the record as it was before a write of the last minute"),
    # one occasion: a message
    "notifier_down": Fault((47,), 0.25, "the topic cannot be reached"),
    "mailer_down": Fault((47,), 0.25, "the mail cannot be sent"),
}

def chosen(text: str) -> frozenset[str]:
    """The faults of a comma-separated list, `all` or `none`. Raises ValueError for a name that is none, and for no name."""
    if text in {"all", "none"}:
        return frozenset(FAULTS if text == "all" else ())
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError(f"{text!r} names no fault: write all, none, or names with commas between")
    if unknown := names - FAULTS.keys():
        raise ValueError(f"no fault is called {', '.join(sorted(unknown))}; the faults are {', '.join(sorted(FAULTS))}")
    return names
