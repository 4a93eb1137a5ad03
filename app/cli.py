"""The `howsure` command."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve() -> None:
    """Serve."""
    from app.server import bind, build_server
    from app.settings import Settings
    from app.telemetry import configure_logging

    settings = Settings()
    configure_logging(settings.log_level)
    build_server(settings).run(sockets=[bind(settings)])


@app.command()
def x() -> None: ...


def main() -> None:
    app()
