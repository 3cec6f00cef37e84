"""The server keeps to the schema that it tells, whatever is asked: requests made up by Schemathesis, fit and unfit."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from peculiar.explorer import Options, make_app
from peculiar.explorer.guard import HEADER

N_EXAMPLES = 40  # of each route, beside those of every boundary of every parameter
ASKED = {HEADER: "1", "host": "127.0.0.1:8460"}
# A filter or a name may be fit by the schema and be none of this atlas.
ACCEPTED = ["2xx", "3xx", "400", "401", "403", "404", "409"]
REJECTED = ["400", "401", "403", "404", "405", "409", "413", "414", "422"]


def told_of(folder: Path, digest: str) -> dict:
    """Values that are there, so that requests are not all refused, and how they are checked."""
    known = {
        "ids": ["-5", "43158859342174406", "43158859342174407,-5"],
        "columns": ["ra", "magnitude", "score_anom", "object_id", "cluster"],
        "filters": ["ra > 150", 'contains(source, "galaxy")', "missing(magnitude)"],
        "digests": [digest],
        "searches": ["150.02 1.98", "-5", "galaxy", "10:00:05 +01:58:48 r=1d"],
    }
    bound = {
        **{"object_id": "ids", "ids": "ids", "name": "columns", "by": "columns", "names": "columns"},
        **{"where": "filters", "digest": "digests", "q": "searches"},
    }
    return {
        "seed": 1,
        "headers": ASKED,
        "continue-on-failure": True,
        "generation": {"deterministic": True, "database": "none", "max-examples": N_EXAMPLES},
        "dictionaries": {name: {"values": values} for name, values in known.items()},
        "parameters": {name: {"dictionary": of, "probability": 0.7} for name, of in bound.items()},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
            "negative_data_rejection": {"expected-statuses": REJECTED},
        },
        "phases": {"stateful": {"enabled": False}},
    }


@pytest.fixture(scope="module")
def scenarios(explored: Path, tmp_path_factory: pytest.TempPathFactory) -> list:
    """What was asked of each route of a copy of the atlas, and what was found wrong with the answers."""
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    folder = shutil.copytree(explored, tmp_path_factory.mktemp("schema") / "atlas")
    app = make_app(folder, Options(port=8460, expert="anna"))
    config = SchemathesisConfig.from_dict(told_of(folder, app.state.served.opened.digest))
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, config=config, headers=ASKED)
    found = []
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            found.append(event.recorder)
    app.state.served.teacher.stop()
    return found


def test_every_answer_is_as_the_schema_says(scenarios):
    wrong = [
        f"{scenario.label}: {scenario.interactions[case].request.uri[:300]}: {each.failure_info.failure.message[:300]}"
        for scenario in scenarios
        for case, checks in scenario.checks.items()
        for each in checks
        if each.failure_info is not None
    ]
    assert not wrong, "\n".join(wrong[:20])


def test_every_route_was_asked_and_gave_an_answer_that_is_none_of_refusal(scenarios):
    answers = Counter(
        (scenario.label, each.response.status_code)
        for scenario in scenarios
        for each in scenario.interactions.values()
        if each.response is not None
    )
    routes = {label for label, _ in answers}
    assert len(routes) >= 18
    refusing = {label for label in routes if not answers[label, 200]}
    needs_labels = {"POST /api/learn", "POST /api/labels/gather", "GET /api/labels/export"}
    needs_hub = {"GET /api/samp", "POST /api/samp"}
    assert refusing <= {"POST /api/session"} | needs_labels | needs_hub
    assert answers.total() > 1_000
