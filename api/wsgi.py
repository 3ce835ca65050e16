"""The entry for WSGI servers: `gunicorn 'api.wsgi:app'`. Settings come from the environment (see ledger.settings)."""

from __future__ import annotations

import bootstrap
from api.app import create_app
from api.logs import configure_logs
from ledger.errors import InputError
from ledger.settings import read_settings

settings = read_settings()
if settings.database_url is None:
    raise InputError("LEDGER_DATABASE_URL is not set. `ledger serve` is what runs the embedded database.")
configure_logs(settings.log_level, settings.log_format)
services = bootstrap.connect(
    settings.database_url, pool_size_max=settings.pool_size_max, erasure_list=settings.erasure_list
)
app = create_app(services, settings)
bootstrap.tune_process()
