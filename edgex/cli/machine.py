"""Commands about what models run on."""

from typing import Annotated

import typer

from edgex.cli.app import command
from edgex.cli.options import Arch, Jetpack, Json, Python, chosen_target


@command
def doctor(python: Python = None, json: Json = False) -> None:
    """Which runtimes are here, what the CPU can do, and how to get the rest."""
    from edgex.doctor import diagnose
    from edgex.render import documents, tables

    diagnosis = diagnose(python)
    if json:
        documents.print_json("doctor", **documents.doctor_document(diagnosis))
    else:
        tables.show_diagnosis(diagnosis)


@command
def targets(
    name: Annotated[str | None, typer.Argument(help="Show one in full.", show_default=False)] = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    json: Json = False,
) -> None:
    """The targets that edgex knows, and what each wants."""
    from edgex.render import documents, tables
    from edgex.target import target_names

    profiles = [chosen_target(each, arch, jetpack) for each in ([name] if name else target_names())]
    if json:
        documents.print_json("targets", targets=[documents.target_document(profile) for profile in profiles])
    elif name:
        tables.show_target(profiles[0])
    else:
        tables.show_targets(profiles)
