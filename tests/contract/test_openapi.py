"""What the API says of itself is so: no request finds a 500, an undocumented status or an answer of another shape."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.examples import a_change
from tests.integration.conftest import web as web
from tests.web import Web

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 5
"""Requests to each endpoint, drawn by a fixed seed; more only cost time."""
BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_answer_is_as_documented(web: Web) -> None:
    web.record([a_change(1)], run_id="r-1")
    schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", web.app)
    headers = {"Authorization": f"Bearer {web.tokens['admin']}"}
    tried = []
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]

        @BOUNDED
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.query.pop("wait_for_position", None)  # nothing follows the log here
            answer = case.call(headers=headers)
            assert answer.status_code != 500
            case.validate_response(answer, checks=CHECKS)

        ask()
        tried.append(operation.label)
    assert len(tried) == len(set(tried)) > 20
