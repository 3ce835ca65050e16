"""`ledger serve`'s process: what it acknowledged is there, what runs when it is told to stop is finished."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import bootstrap
from ledger.embedded import DatabaseUrls
from tests.examples import an_operation, changes

PROGRAM = """
import sys, bootstrap
from api.serve import serve
from ledger.settings import read_settings
services = bootstrap.connect(sys.argv[1])
settings = read_settings({"port": 0, "database_url": sys.argv[1]}, environment={})
serve(services, settings, on_ready=lambda url: print(url, flush=True))
services.close()
"""


def test_sigterm_finishes_what_runs_and_loses_nothing(database: DatabaseUrls) -> None:
    services = bootstrap.connect(database.service_url)
    account = services.accounts().ensure("default")
    token, _ = services.tokens(account.account_id).make("operator", "test")
    ledger = services.ledger(account.account_id)
    ledger.start_run(an_operation(), run_id="r-1")
    command = [sys.executable, "-c", PROGRAM, database.service_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        connection.request("POST", "/v1/runs/r-1/changes?offset=0", changes(1, 20_000), headers)
        while ledger.store.load_run("r-1").accepted == 0:  # until the server is in the middle of it
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        _, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    assert (answer.status, document["accepted"]) == (200, 20_000)
    assert ledger.store.load_run("r-1").accepted == 20_000
    assert "Traceback" not in logged
    services.close()
