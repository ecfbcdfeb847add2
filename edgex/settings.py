"""The command line's options, and edgex.toml's where they say nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgex.errors import UsageError

if TYPE_CHECKING:
    from edgex.config import Config
    from edgex.pipeline import QuantizeOptions
    from edgex.target import TargetProfile


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
        """An option that has few values. UsageError if it is none of them."""
        from typing import get_args, get_type_hints

        from edgex.pipeline import QuantizeOptions

        value = self.get(key, given)
        hint = get_type_hints(QuantizeOptions)[key]
        words = [word for part in (hint, *get_args(hint)) for word in get_args(part) if isinstance(word, str)]
        if value is not None and value not in words:
            raise UsageError(f"--{key} {value!r} is unknown.", fix=f"Choose one of {', '.join(dict.fromkeys(words))}.")
        return value

    def quantize_options(self, **given: Any) -> "QuantizeOptions":
        """Options of quantize and export, checked; what neither says keeps its default."""
        from edgex.pipeline import QuantizeOptions

        words = ("method", "io", "preprocess", "resize")
        chosen = {
            key: self.one_of(key, value) if key in words else self.get(key, value) if key != "equalize" else value
            for key, value in given.items()
        }
        return QuantizeOptions(**{key: value for key, value in chosen.items() if value is not None})
