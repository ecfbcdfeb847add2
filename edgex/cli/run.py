"""The command that does all that edgex.toml says."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgex import console
from edgex.cli import announce
from edgex.cli.app import command
from edgex.cli.gate import annotate
from edgex.cli.limits import chosen_limits
from edgex.cli.options import Json, chosen_target
from edgex.errors import UsageError
from edgex.settings import Settings

if TYPE_CHECKING:
    from edgex.pipeline import QuantizeOptions
    from edgex.run import Recipe

NEEDED = ("model", "target", "calib", "data")
"""Keys of edgex.toml without which there is nothing to run."""


@command
def run(
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every stage, also where nothing has changed.")] = False,
    json: Json = False,
) -> None:
    """All that edgex.toml says, from the model to the gate; what has not changed is not done again. Exit as gate."""
    from edgex.render import github
    from edgex.render import run as shown
    from edgex.render.documents import print_json
    from edgex.run import run as run_recipe

    recipe = configured_recipe()
    said = announce.pruning(recipe.quantize.prune, 'prune = "{}"', "force = true, in edgex.toml")
    with said, console.progress() as progress:
        report = run_recipe(recipe, progress, fresh=fresh)
    for warning in report.warnings:
        console.say_warning(warning)
    if json:
        print_json("run", **shown.run_document(report))
    else:
        with github.no_commands():
            shown.show_run(report)
    annotate(report.verdict, json=json)
    if report.verdict.exit_code:
        raise typer.Exit(report.verdict.exit_code)


def configured_recipe() -> "Recipe":
    """What edgex.toml says, as the commands quantize, validate and gate take it when their command lines say nothing.

    Raises:
        UsageError: there is none, or it lacks a key that is needed. Other EdgexErrors as of these commands.
    """
    from edgex.config import Config
    from edgex.config_file import find_config
    from edgex.run import Recipe
    from edgex.validate import ValidateOptions

    settings = Settings()
    found = find_config(Path())
    if found is None:
        raise UsageError(
            "There is no edgex.toml in this folder or above it, which would say what to run.",
            fix=f"Write one with edgex init, and set {', '.join(NEEDED)} in it.",
        )
    table = f"{found.table}." if found.table else ""
    missing = [f"{table}{key}" for key in NEEDED if key not in found.content]
    if missing:
        raise UsageError(f"{found.path} has no {' and no '.join(missing)}.", fix=f"Set {', '.join(missing)} in it.")
    model = settings.model(None)
    target = chosen_target(settings.need("target", None), settings.get("arch", None), settings.get("jetpack", None))
    options = _quantize_options(settings)
    keys = Config.model_fields.keys() & {each.name for each in fields(ValidateOptions)}
    said = {key: settings.get(key, None) for key in keys}
    return Recipe(
        model=model,
        target=target,
        calib=settings.need("calib", None),
        data=settings.need("data", None),
        output=settings.output(None, model, target),
        train=settings.training_images(options, None),
        baseline=settings.baseline(None, None),
        quantize=options,
        validate=ValidateOptions(
            limits=chosen_limits(settings), **{key: value for key, value in said.items() if value is not None}
        ),
    )


def _quantize_options(settings: Settings) -> "QuantizeOptions":
    """Each from edgex.toml, or its default."""
    from edgex.pipeline import QuantizeOptions
    from edgex.train.loop import TrainOptions

    training: dict[str, Any] = {
        "train_seed" if each.name == "seed" else each.name: None for each in fields(TrainOptions)
    }
    unsaid = dict.fromkeys(each.name for each in fields(QuantizeOptions))
    parts = {"prune": settings.prune_options(None, **training), "qat": settings.train_options(None, **training)}
    return settings.quantize_options(**{**unsaid, **parts})
