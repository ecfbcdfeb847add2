"""Prove what artifacts cost: accuracy, latency, size and memory beside the float baseline, on the same images."""

from edgex.validate.validation import ValidateOptions, Validation, renew_page, validate

__all__ = ["ValidateOptions", "Validation", "renew_page", "validate"]
