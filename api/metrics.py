"""Metrics for Prometheus. Labels are routes, methods, statuses and projections: never a customer's values."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bootstrap import Services
from ledger.errors import LedgerError
from ledger.service import Accepted

metrics = Blueprint("metrics", __name__)


class Metrics:
    """The counters of one application."""

    def __init__(self, services: Services) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ledger_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "ledger_request_seconds", "Time until the answer began.", ("method", "route"), registry=self.registry
        )
        self.batches = Counter("ledger_batches", "Batches recorded over HTTP.", registry=self.registry)
        self.registry.register(LagCollector(services))


class LagCollector(Collector):
    """How far the views are behind, looked up when it is asked for."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[GaugeMetricFamily]:
        behind = GaugeMetricFamily("ledger_projection_behind", "Events not yet in the view.", labels=["projection"])
        stopped = GaugeMetricFamily("ledger_projection_stopped", "Accounts whose view stands.", labels=["projection"])
        jobs = GaugeMetricFamily("ledger_jobs", "Jobs that wait or are dead.", labels=["kind", "state"])
        failing = GaugeMetricFamily("ledger_witness_failing", "Logs it did not cosign when asked.", labels=["witness"])
        refusing = GaugeMetricFamily("ledger_witness_refusing", "Logs it holds another head of.", labels=["witness"])
        unsealed = GaugeMetricFamily("ledger_sealing_failing", "Logs that do not extend what was signed.")
        standing = GaugeMetricFamily("ledger_sealing_standing", "Logs with events that nobody signs.")
        unsigned = GaugeMetricFamily("ledger_sealing_unsigned_seconds", "How long the oldest unsigned event waits.")
        altered = GaugeMetricFamily("ledger_verification_altered", "Logs that verifying found altered.")
        verified = GaugeMetricFamily("ledger_verification_seconds", "How long ago a log was verified, at most.")
        reachable = GaugeMetricFamily("ledger_database_up", "1 where the database answers.")
        worst: dict[str, tuple[int, int]] = {}
        try:
            for each in self._services.lag():
                most, failures = worst.get(each.projection, (0, 0))
                worst[each.projection] = (max(most, each.behind), failures + (each.failure is not None))
            for kind, state, number in self._services.job_counts():
                jobs.add_metric([kind, state], number)
            witnesses = self._services.witness_states()
            for name in sorted({state.key.name for state in witnesses}):
                own = [state for state in witnesses if state.key.name == name]
                failing.add_metric([name], sum(state.failure is not None for state in own))
                refusing.add_metric([name], sum(state.refused for state in own))
            logs = self._services.log_states()
            unsealed.add_metric([], sum(each.failure is not None for each in logs))
            standing.add_metric([], sum(each.stands for each in logs))
            unsigned.add_metric([], max((each.unsigned_s or 0.0 for each in logs), default=0.0))
            altered.add_metric([], sum(each.is_verified is False for each in logs))
            verified.add_metric([], max((each.verified_s or 0.0 for each in logs), default=0.0))
            reachable.add_metric([], 1)
        except LedgerError:
            reachable.add_metric([], 0)
        for name, (most, failures) in worst.items():
            behind.add_metric([name], most)
            stopped.add_metric([name], failures)
        yield from (behind, stopped, jobs, failing, refusing, reachable)
        yield from (unsealed, standing, unsigned, altered, verified)


def add_metrics(app: Flask, services: Services) -> None:
    """Counts every request of the application and shows the counts at /metrics."""
    app.extensions["metrics"] = Metrics(services)
    app.before_request(_start)
    app.after_request(_count)
    app.register_blueprint(metrics)


def count_changes(_: Accepted) -> None:
    """Counts a batch that was recorded."""
    _metrics().batches.inc()


@metrics.get("/metrics")
def show_metrics() -> Response:
    return Response(generate_latest(_metrics().registry), content_type=CONTENT_TYPE_LATEST)


def _metrics() -> Metrics:
    found = current_app.extensions["metrics"]
    assert isinstance(found, Metrics)
    return found


def _start() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
    found = _metrics()
    found.requests.labels(method, route, str(response.status_code)).inc()
    found.seconds.labels(method, route).observe(time.perf_counter() - g.get("began", time.perf_counter()))
    return response
