"""What a linter says about a written artifact."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One breach of one rule.

    Attributes:
        rule: the rule's name, e.g. ``zero-point-is-zero``.
        where: the node or tensor in the file, by its name there.
        message: what is wrong with it and what the target wants, one sentence.
    """

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.rule}]"
