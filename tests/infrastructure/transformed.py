"""The template as CloudFormation sees it: what checkov and cfn-lint read before the SAM transform is not yet what AWS gets."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.package import read_template
from infra.local.schedules import transform

ROOT = Path(__file__).parents[2]
FUNCTIONS = (
    "generate_signals",
    "send_newsletter",
    "place_orders",
    "reconcile",
    "review_performance",
    "watch_schedule",
)
"""The desk's functions in the template's order."""

RESEARCH = "run_backtest"
"""The function that trades the past: it is no part of the day and has none of the desk's rights."""

TRADERS = {"place_orders", "reconcile"}
"""The two that may read the trading key."""


class Grant(NamedTuple):
    """One action that a role may do on one resource, both as the template writes them."""

    action: str
    resource: Any


def block(function: str) -> str:
    """The logical id of a function: GenerateSignals for generate_signals."""
    return "".join(word.capitalize() for word in function.split("_"))


@cache
def source() -> dict[str, Any]:
    """The template as it stands in the file, short intrinsic functions in their long form."""
    return read_template(ROOT / "template.yaml")


@cache
def transformed() -> dict[str, Any]:
    """The template after the SAM transform, with the parameters that have no default."""
    return transform(source(), {"MailFrom": "desk@example.com", "MailTo": "reader@example.com"})


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The resources of one type by logical id."""
    found = {name: resource for name, resource in transformed()["Resources"].items() if resource["Type"] == kind}
    assert found, f"the template has no {kind}"
    return found


def properties(name: str) -> dict[str, Any]:
    """The properties of one resource."""
    found: dict[str, Any] = transformed()["Resources"][name]["Properties"]
    return found


def listed(value: Any) -> list[Any]:
    """IAM takes one thing or a list of them."""
    return value if isinstance(value, list) else [value]


def statements(role: str) -> Iterator[dict[str, Any]]:
    """Every statement a role is given: its own and those of the stack's managed policies attached to it."""
    given = properties(role)
    for policy in given.get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]
    for policy in given.get("ManagedPolicyArns", []):
        yield from properties(policy["Ref"])["PolicyDocument"]["Statement"]


def grants(role: str) -> list[Grant]:
    """What a role may do, one action and one resource at a time."""
    return [
        Grant(action, resource)
        for statement in statements(role)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def role_of(function: str) -> str:
    """The logical id of a function's role."""
    role: str = properties(block(function))["Role"]["Fn::GetAtt"][0]
    return role


def texts(value: Any) -> Iterator[str]:
    """Every string in a piece of the template, keys left out."""
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from texts(part)
        case list():
            for part in value:
                yield from texts(part)


def functions_that_may(action: str, mentioning: str) -> set[str]:
    """The functions granted an action on a resource whose text contains `mentioning`."""
    return {
        function
        for function in FUNCTIONS
        for grant in grants(role_of(function))
        if grant.action == action and any(re.search(rf"\b{re.escape(mentioning)}\b", text) for text in texts(grant.resource))
    }
