"""The application: what every command shares, errors turned into messages and exit codes among it."""

import functools
from collections.abc import Callable
from typing import Annotated, NoReturn, ParamSpec, TypeVar

import typer

from edgex import console
from edgex.errors import EdgexError, ExitCode

app = typer.Typer(
    name="edgex",
    help="A trained Keras classifier in, proven INT8 TFLite and ONNX out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes around the help would double the time it takes
    context_settings={"help_option_names": ["-h", "--help"]},
)

P = ParamSpec("P")
R = TypeVar("R")


def command(function: Callable[P, R]) -> Callable[P, None]:
    """Register a command that turns errors into messages and exit codes, in one place."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except EdgexError as error:
            _leave(error.exit_code, error.message, error.fix)
        except KeyboardInterrupt as interrupt:
            _leave(ExitCode.INTERRUPTED, "Interrupted.", str(interrupt))
        except MemoryError:
            _leave(
                ExitCode.INPUT_OUTPUT, "There is not enough memory.", "Close other programs, or use a larger machine."
            )
        except OSError as error:
            _leave(
                ExitCode.INPUT_OUTPUT,
                f"{error.filename or 'A file'}: {error.strerror or error}.",
                "Check the path and its permissions.",
            )
        except typer.Exit:
            raise
        except Exception as error:  # noqa: BLE001  the last resort: whatever is left is a bug of ours
            fix = "This is a bug in edgex. See it whole with: edgex --debug …"
            _leave(ExitCode.INTERNAL, f"{type(error).__name__}: {error}", fix)

    app.command()(guarded)
    return guarded


def _leave(code: ExitCode, message: str, fix: str) -> NoReturn:
    console.say_error(message, fix)
    if console.SETTINGS.debug:
        import traceback

        traceback.print_exc()
    raise typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from edgex import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors and results.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    console.SETTINGS.quiet = quiet
    console.SETTINGS.debug = debug
