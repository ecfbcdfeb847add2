"""The command line's options, and edgex.toml's where they say nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from edgex.errors import UsageError

if TYPE_CHECKING:
    from edgex.config import Config
    from edgex.pipeline import PruneOptions, QuantizeOptions, TrainModelOptions
    from edgex.target import TargetProfile
    from edgex.train.loop import TrainOptions


class Settings:
    """Looks options up; a command makes one for itself."""

    def __init__(self) -> None:
        from edgex.config_file import find_config

        self._config: Config | None = None
        found = find_config(Path())
        if found is not None:
            from edgex.config import read_config  # which takes time, and most folders have no such file

            self._config = read_config(found)

    def get(self, key: str, given: Any) -> Any:
        """The option given, or the configured one, or None."""
        return given if given is not None or self._config is None else getattr(self._config, key)

    def need(self, key: str, given: Any, option: str | None = None) -> Any:
        """Like :meth:`get`. UsageError if there is none, neither in the file nor as the command line calls it."""
        value = self.get(key, given)
        if value is None:
            where = "and there is no edgex.toml" if self._config is None else "and edgex.toml has none either"
            option = option or ("MODEL" if key == "model" else f"--{key}")
            raise UsageError(
                f"{option} is missing, {where} in this folder or above it.",
                fix=f"Give {option}, or write one with edgex init and set {key} in it.",
            )
        return value

    def model(self, given: Path | None) -> Path:
        """The model file; the word ``demo`` stands for the one that ships with edgex."""
        from edgex.networks import model_file

        return model_file(Path(self.need("model", given)))

    def baseline(self, given: Path | None, model: Path | None) -> Path | None:
        """The model that another was made from, if it was: of ``edgex.toml`` only for the model that this names.

        Args:
            given: on the command line.
            model: that the command line names in its place.
        """
        said = given if given is not None or model is not None else self.get("baseline", None)
        return None if said is None else Path(said)

    def output(self, given: Path | None, model: Path, target: "TargetProfile") -> Path:
        """The directory to write, with ``{model}`` and ``{target}`` filled in."""
        pattern = str(self.get("output", given) or "{model}-{target}")
        return Path(pattern.replace("{model}", model.stem).replace("{target}", target.name))

    def one_of(self, key: str, given: str | None) -> Any:
        """An option of ``quantize`` that has few values. UsageError if it is none of them."""
        from edgex.pipeline import QuantizeOptions

        return self._chosen(QuantizeOptions, {key: given}).get(key)

    def quantize_options(self, **given: Any) -> "QuantizeOptions":
        """Options of quantize and export, checked; what neither says keeps its default."""
        from edgex.pipeline import QuantizeOptions

        return QuantizeOptions(**self._chosen(QuantizeOptions, given, fixed=("equalize", "prune", "qat")))

    def train_options(self, mode: str | None, **given: Any) -> "TrainOptions | None":
        """Options of training, checked likewise; None where the mode is not to train."""
        from edgex.train.loop import TrainOptions

        chosen = self.get("mode", mode) or "ptq"
        _expect_one_of("mode", chosen, ("ptq", "qat"))
        if chosen == "ptq":
            return None
        return TrainOptions(**_seeded(self._chosen(TrainOptions, given)))

    def prune_options(
        self,
        method: str | None,
        *,
        option: str = "prune",
        sparsity: float | None = None,
        latency: float | None = None,
        importance: str | None = None,
        steps: int | None = None,
        force: bool | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        **training: Any,
    ) -> "PruneOptions | None":
        """Options of pruning, checked likewise; None where no method is said anywhere.

        The learning rate of ``edgex.toml`` is that of training for INT8, and not of this.

        Args:
            method: how to prune.
            option: that says so on the command line.
            sparsity, latency, importance, steps, force: of :class:`edgex.pipeline.PruneOptions`.
            epochs, learning_rate, training: of :class:`edgex.train.loop.TrainOptions`.
        """
        from edgex.pipeline.options import PRUNE_EPOCHS, PruneOptions
        from edgex.prune.methods import Method
        from edgex.train.loop import TrainOptions

        chosen = self.get("prune", method)
        if chosen is None:
            if any(value is not None for value in (sparsity, latency, importance, steps, epochs)):
                raise UsageError("There are options for pruning, and no method.", fix="Give one with --prune.")
            return None
        _expect_one_of(option, chosen, get_args(Method))
        train = _seeded(self._chosen(TrainOptions, training))
        if learning_rate is not None:
            train["learning_rate"] = learning_rate
        # One takes the place of the other, and the command line that of the file, which speaks of its own method
        wanted = {"sparsity": sparsity, "latency": latency}
        of_file = self.get("prune", None) in (None, chosen)
        if force is None and of_file:
            force = self.get("force", None)
        if sparsity is None and latency is None and of_file:
            wanted = {"sparsity": self.get("sparsity", None), "latency": self.get("prune_latency", None)}
        settings = {"importance": self.get("importance", importance), "steps": self.get("prune_steps", steps), **wanted}
        said = {key: value for key, value in settings.items() if value is not None}
        if "importance" in said:
            _expect_one_of("importance", said["importance"], _few(PruneOptions, "importance"))
        epochs = self.get("prune_epochs", epochs) or PRUNE_EPOCHS
        return PruneOptions(chosen, force=bool(force), train=TrainOptions(epochs=epochs, **train), **said)

    def train_model_options(self, *, architecture: Mapping[str, Any], **given: Any) -> "TrainModelOptions":
        """Options of training from labels, checked likewise.

        Of ``edgex.toml`` only what concerns images and threads: how it trains is for INT8.
        """
        from edgex.pipeline import TrainModelOptions

        shared = ("preprocess", "resize", "input_size", "max_bad", "threads")
        own = {key: value for key, value in given.items() if key not in shared}
        chosen = self._chosen(TrainModelOptions, given, fixed=tuple(own))
        said = {key: value for key, value in chosen.items() if value is not None}
        return TrainModelOptions(architecture=architecture, **said)

    def training_images(self, options: "QuantizeOptions", given: str | None) -> str | None:
        """What to train on. UsageError if it is missing, or given without a wish to train."""
        if options.qat is not None or options.prune is not None:
            return str(self.need("train", given))
        if given is not None:
            raise UsageError(
                f"--train {given} is for training.", fix="Give --mode qat or --prune as well, or leave it out."
            )
        return None

    def _chosen(self, kind: type, given: dict[str, Any], fixed: Sequence[str] = ()) -> dict[str, Any]:
        """What is said of the fields of ``kind``, each one of its few values where it has few."""
        chosen = {}
        for key, value in given.items():
            said = value if key in fixed else self.get(key, value)
            if said is None:
                continue
            few = _few(kind, key)
            if few:
                _expect_one_of(key, said, few)
            chosen[key] = said
        return chosen


def _few(kind: type, key: str) -> list[Any]:
    """The values that a field may have, where they are few."""
    from typing import Literal, get_origin, get_type_hints

    hint = get_type_hints(kind).get(key)
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    return [word for part in literals for word in get_args(part)]


def _seeded(training: dict[str, Any]) -> dict[str, Any]:
    """Options under the names of TrainOptions' fields."""
    return {"seed" if key == "train_seed" else key: value for key, value in training.items()}


def _expect_one_of(key: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        option = key.replace("_", "-")
        raise UsageError(f"--{option} {value!r} is unknown.", fix=f"Choose one of {', '.join(map(str, choices))}.")
