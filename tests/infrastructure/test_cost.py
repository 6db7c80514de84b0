"""A month costs what docs/cost.md says: computed from the transformed template, list prices and a stated use."""

import re
from typing import NamedTuple

import pytest

from closebell.model.schedule import SCHEDULES, ScheduledRun
from tests.infrastructure.transformed import ROOT, block, properties, resources

PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
DAYS_A_MONTH = 365.25 / 12
HOURS_A_MONTH = 730
LOG_KB = 6
TABLES_GB, ARCHIVE_GB = 0.1, 1.0


class Use(NamedTuple):
    """What one run takes, generously: billed seconds, table units (a transaction counts twice), archive documents."""

    seconds: int
    writes: int
    reads: int
    documents: int = 0


USE = {
    "generate_signals": Use(20, 200, 60, 2),
    "send_newsletter": Use(6, 12, 120, 6),
    "place_orders": Use(10, 120, 80),
    "reconcile": Use(4, 12, 30),
    "review_performance": Use(4, 12, 60),
    "watch_schedule": Use(2, 6, 40),
}


class Line(NamedTuple):
    """One line of the bill in US dollars: at list price, and after what AWS gives every account for good."""

    list_usd: float
    paid_usd: float


def runs_a_month(run: ScheduledRun) -> float:
    """How often a cron expression of the forms we use fires in an average month."""
    minute, hour, _, _, weekday = run.cron.split()
    step = re.match(r"0/(\d+)$", minute)
    first, _, last = hour.partition("-")
    hours = 24 if hour == "*" else int(last) - int(first) + 1 if last else 1
    days = DAYS_A_MONTH * (5 / 7 if weekday == "MON-FRI" else 1)
    return (60 / int(step[1]) if step else 1) * hours * days


def hours_a_month(run: ScheduledRun) -> float:
    """In how many hours a run sends its metric: CloudWatch bills a custom metric for the hours it is sent in."""
    minute = run.cron.split()[0]
    return runs_a_month(run) / (60 / int(minute.removeprefix("0/")) if "/" in minute else 1)


def alarm_metrics(*, crypto: bool, silence: bool = True) -> int:
    """Metrics that alarms watch: a metric-math alarm is billed for each metric in it."""
    conditions = {"HearsSilence": silence, "HearsCryptoSilence": silence and crypto}
    return sum(
        sum("MetricStat" in metric for metric in alarm["Properties"].get("Metrics", [])) or 1
        for alarm in resources("AWS::CloudWatch::Alarm").values()
        if conditions.get(alarm.get("Condition", ""), True)
    )


def bill(*, crypto: bool, silence: bool = True) -> dict[str, Line]:
    """A month's bill. Prices: us-east-1, November 2026."""
    day = [run for run in SCHEDULES if crypto or run.market == "us_equity"]
    runs = [(run.function, runs_a_month(run)) for run in day]
    count = sum(times for _, times in runs)
    gb_s = sum(times * USE[function].seconds * properties(block(function))["MemorySize"] / 1024 for function, times in runs)
    writes = sum(times * USE[function].writes for function, times in runs)
    reads = sum(times * USE[function].reads for function, times in runs)
    documents = sum(times * USE[function].documents for function, times in runs)
    mails = sum(times for function, times in runs if function == "send_newsletter")
    metric_hours = sum(map(hours_a_month, day))
    alarms = alarm_metrics(crypto=crypto, silence=silence)
    log_gb = count * LOG_KB / 1e6

    def line(used: float, price_usd: float, free: float = 0.0) -> Line:
        return Line(used * price_usd, max(0.0, used - free) * price_usd)

    return {
        "CloudWatch alarms": line(alarms, 0.10, free=10),
        "CloudWatch metrics": line(metric_hours / HOURS_A_MONTH, 0.30, free=10),
        "CloudWatch Logs": line(log_gb, 0.50, free=5),
        "Lambda": _sum(line(gb_s, 0.0000133334, free=400_000), line(count / 1e6, 0.20, free=1)),
        "DynamoDB": _sum(
            line(writes / 1e6, 0.625), line(reads / 1e6, 0.125), line(TABLES_GB, 0.25, free=25), line(TABLES_GB, 0.20)
        ),
        "S3": _sum(line(documents / 1e3, 0.005), line(ARCHIVE_GB, 0.023)),
        "Scheduler, SES, SNS": _sum(line(count / 1e6, 1.00, free=14), line(mails / 1e3, 0.10)),
    }


def _sum(*lines: Line) -> Line:
    return Line(sum(line.list_usd for line in lines), sum(line.paid_usd for line in lines))


def total(lines: dict[str, Line]) -> Line:
    return _sum(*lines.values())


@pytest.mark.parametrize("crypto", [False, True])
def test_a_month_costs_under_a_dollar(crypto: bool) -> None:
    assert total(bill(crypto=crypto)).paid_usd < 1.00


def test_the_alarms_of_the_equity_day_are_all_free() -> None:
    assert alarm_metrics(crypto=False) <= 10


def test_a_stack_without_silence_alarms_costs_under_a_dollar_at_list_price() -> None:
    """Such as a second one in the account, whose free alarms the first has used up."""
    list_usd = total(bill(crypto=False, silence=False)).list_usd
    assert list_usd < 1.00
    assert f"the list price of the whole is {list_usd:.2f}." in " ".join(PAGE.split())


def test_the_page_shows_this_bill() -> None:
    equity, crypto = bill(crypto=False), bill(crypto=True)
    lines = {name: (equity[name].list_usd, equity[name].paid_usd, crypto[name].paid_usd) for name in equity}
    lines["**a month**"] = (total(equity).list_usd, total(equity).paid_usd, total(crypto).paid_usd)
    shown = {name: tuple(map(float, amounts)) for name, *amounts in _rows()}
    assert shown == {name: tuple(round(amount, 2) for amount in amounts) for name, amounts in lines.items()}


def _rows() -> list[tuple[str, ...]]:
    return re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
