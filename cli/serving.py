"""`ledger serve`."""

from __future__ import annotations

import click

from cli.session import open_session


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen (default: 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65_535), help="At which port (default: 8321).")
@click.option("--follow/--no-follow", default=True, help="Whether this process also keeps the views up to date.")
@click.option("--work/--no-work", default=True, help="Whether this process also sends e-mails and webhooks.")
@click.option("--seal/--no-seal", default=True, help="Whether this process also signs the logs.")
@click.option("--verify/--no-verify", default=True, help="Whether this process also verifies the logs, at a low rate.")
@click.pass_context
def serve(
    ctx: click.Context, /, host: str | None, port: int | None, follow: bool, work: bool, seal: bool, verify: bool
) -> None:
    """Serve the API, the page and, in the same process, the projections, the jobs, the sealing and the verifying, until
    SIGTERM or Ctrl-C."""
    from api.health import refuse_unerased
    from api.serve import serve as serve_api

    with open_session(ctx, settings={"host": host, "port": port}) as session:
        refuse_unerased(session.services)
        serve_api(session.services, session.settings, follow=follow, work=work, seal=seal, verify=verify)
