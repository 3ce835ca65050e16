"""The API as a test uses it: the application on the test's database, with a token of each role."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import bootstrap
from api.app import create_app
from bootstrap import Services
from ledger.access import ROLES
from ledger.settings import read_settings
from tests.examples import ndjson

NDJSON = "application/x-ndjson"


@dataclass
class Web:
    """One account, reached over HTTP."""

    app: Flask
    services: Services
    account_id: UUID
    tokens: dict[str, str]
    client: FlaskClient

    def get(self, path: str, *, role: str | None = "auditor", **options: Any) -> TestResponse:
        return self.client.get(path, headers=self.headers(role, options), **options)

    def post(self, path: str, body: Any = b"", *, role: str | None = "producer", **options: Any) -> TestResponse:
        """`body`: bytes as they are, everything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        options.setdefault("content_type", "application/json")
        return self.client.post(path, data=data, headers=self.headers(role, options), **options)

    def headers(self, role: str | None, options: dict[str, Any]) -> dict[str, str]:
        given: dict[str, str] = options.pop("headers", {})
        return given | ({"Authorization": f"Bearer {self.tokens[role]}"} if role else {})

    def start(self, **facts: Any) -> str:
        """Starts a run; its Run ID."""
        answer = self.post("/v1/runs", {"object_type": "contact"} | facts)
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["run_id"])

    def send(self, run_id: str, lines: Iterable[dict[str, Any]] | bytes, **options: Any) -> TestResponse:
        body = lines if isinstance(lines, bytes) else ndjson(lines)
        return self.post(changes_path(run_id), body, **({"content_type": NDJSON} | options))

    def record(self, lines: Iterable[dict[str, Any]], **facts: Any) -> str:
        """Records a whole run, seen by every view. Its Run ID."""
        run_id = self.start(**facts)
        assert self.send(run_id, lines).status_code == 200
        assert self.post(f"/v1/runs/{quote(run_id, safe='')}/finish").status_code == 200
        self.services.project_once(self.account_id)
        return run_id


def changes_path(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}/changes"


def record_path(object_type: str, record_id: str) -> str:
    return f"/v1/records/{quote(object_type, safe='')}/{quote(record_id, safe='')}"


@contextmanager
def opened_web(service_url: str) -> Iterator[Web]:
    """The API on a migrated database, closed in the end."""
    services = bootstrap.connect(service_url)
    try:
        account = services.accounts().ensure("default")
        tokens: dict[str, str] = {
            role: services.tokens(account.account_id).make(role, f"test {role}")[0] for role in ROLES
        }
        app = create_app(services, read_settings(environment={}))
        yield Web(app, services, account.account_id, tokens, app.test_client())
    finally:
        services.close()


def problem(answer: TestResponse) -> dict[str, Any]:
    """The problem document of a refusal, which must be a whole one."""
    assert answer.mimetype == "application/problem+json", answer.text
    document: dict[str, Any] = answer.get_json()
    assert document["status"] == answer.status_code
    assert document["type"] == f"/problems/{document['code']}"
    assert document["title"]
    assert document["detail"]
    return document
