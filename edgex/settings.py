"""The command line's options, and edgex.toml's where they say nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgex.errors import UsageError

if TYPE_CHECKING:
    from edgex.config import Config
    from edgex.pipeline import QuantizeOptions
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

    def need(self, key: str, given: Any) -> Any:
        """Like :meth:`get`. UsageError if there is none."""
        value = self.get(key, given)
        if value is None:
            where = "and there is no edgex.toml" if self._config is None else "and edgex.toml has none either"
            option = "MODEL" if key == "model" else f"--{key}"
            raise UsageError(
                f"{option} is missing, {where} in this folder or above it.",
                fix=f"Give {option}, or write one with edgex init and set {key} in it.",
            )
        return value

    def model(self, given: Path | None) -> Path:
        """The model file; the word ``demo`` stands for the one that ships with edgex."""
        value = self.need("model", given)
        if str(value) == "demo" and not Path(value).exists():
            from edgex.resources import demo_model

            return demo_model()
        return Path(value)

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

        return QuantizeOptions(**self._chosen(QuantizeOptions, given, fixed=("equalize", "qat")))

    def train_options(self, mode: str | None, **given: Any) -> "TrainOptions | None":
        """Options of training, checked likewise; None where the mode is not to train."""
        from edgex.train.loop import TrainOptions

        chosen = self.get("mode", mode) or "ptq"
        _expect_one_of("mode", chosen, ("ptq", "qat"))
        if chosen == "ptq":
            return None
        values = self._chosen(TrainOptions, given)
        return TrainOptions(**{"seed" if key == "train_seed" else key: value for key, value in values.items()})

    def training_images(self, options: "QuantizeOptions", given: str | None) -> str | None:
        """What to train on. UsageError if it is missing, or given without a wish to train."""
        if options.qat is not None:
            return str(self.need("train", given))
        if given is not None:
            raise UsageError(f"--train {given} is for training.", fix="Give --mode qat as well, or leave it out.")
        return None

    def _chosen(self, kind: type, given: dict[str, Any], fixed: Sequence[str] = ()) -> dict[str, Any]:
        """What is said of the fields of ``kind``, each one of its few values where it has few."""
        from typing import Literal, get_args, get_origin, get_type_hints

        hints = get_type_hints(kind)
        chosen = {}
        for key, value in given.items():
            said = value if key in fixed else self.get(key, value)
            if said is None:
                continue
            hint = hints.get(key)
            few = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
            if few:
                _expect_one_of(key, said, [word for part in few for word in get_args(part)])
            chosen[key] = said
        return chosen


def _expect_one_of(key: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        option = key.replace("_", "-")
        raise UsageError(f"--{option} {value!r} is unknown.", fix=f"Choose one of {', '.join(map(str, choices))}.")
