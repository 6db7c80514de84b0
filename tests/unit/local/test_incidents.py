"""Which incident a session gets."""

from infra.local.incidents import Incident, choose


def test_incidents_come_in_order_and_once_each_where_there_is_something_to_buy() -> None:
    chosen: dict[int, str] = {}
    for number in range(1, 6):
        incident = choose(number, ["AAPL"], chosen)
        chosen[number] = incident.name if incident else ""
    assert list(chosen.values()) == ["GATEWAY_TIMEOUT", "REFUSED_ORDER", "DELIVERED_TWICE", "", ""]


def test_an_incident_that_needs_an_entry_waits_for_one() -> None:
    assert choose(1, [], {}) is Incident.DELIVERED_TWICE
    assert choose(2, [], {1: "DELIVERED_TWICE"}) is None
    assert choose(3, ["XOM"], {1: "DELIVERED_TWICE", 2: ""}) is Incident.GATEWAY_TIMEOUT


def test_an_interrupted_session_keeps_its_incident() -> None:
    assert choose(2, [], {1: "", 2: "REFUSED_ORDER"}) is Incident.REFUSED_ORDER
    assert choose(2, ["XOM"], {1: "", 2: ""}) is None


def test_the_next_ten_sessions_have_their_own_incidents() -> None:
    chosen = {number: name for number, name in enumerate(["GATEWAY_TIMEOUT", "REFUSED_ORDER", "DELIVERED_TWICE"], start=8)}
    assert choose(11, ["XOM"], chosen) is Incident.GATEWAY_TIMEOUT
