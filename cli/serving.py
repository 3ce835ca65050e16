"""`ledger serve`."""

from __future__ import annotations

import click

from cli.session import open_session


@click.command()
@click.option("--host", help="The address to listen on (LEDGER_HOST; 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port (LEDGER_PORT; 8321).")
@click.option("--follow/--no-follow", default=True, help="Whether this process also keeps the views up to date.")
@click.pass_context
def serve(context: click.Context, host: str | None, port: int | None, follow: bool) -> None:
    """Serve the API and the pages, with the projections in the same process, until SIGTERM."""
    from api.serve import serve as serve_api

    with open_session(context, host=host, port=port) as session:
        serve_api(session.services, session.settings, follow=follow)
