"""What all pages have in common: the template, and plots of layers."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgex.gate import GateResult
from edgex.page.plots import Named, Share, drop_plot, layer_plot, sensitivity_plot, trade_off_plot
from edgex.page.svg import printable
from edgex.page.words import facts, headline
from edgex.report import AnyReport, LayerSensitivity

if TYPE_CHECKING:
    from jinja2 import Template


def render(template: str, report: AnyReport, result: GateResult, **content: Any) -> str:
    """The page that a template makes of a report, a verdict and what else it asks for."""
    return _template(template).render(
        report=report,
        result=result,
        headline=headline(result),
        facts={
            "Target": [*facts(report.target)],
            "Machine": [*facts(report.machine)],
            "Versions": [*facts(report.versions)],
            "Settings": [*facts(report.settings)],
        },
        **content,
    )


def result_plots(
    report: AnyReport, result: GateResult, names: Mapping[str, str], share: Callable[[Any], Share], of: Named
) -> dict[str, str]:
    """Of what each artifact lost, and of that against its latency, where there is data.

    Args:
        report: see there.
        result: of judging it.
        names: short ones of all files.
        share: of a file's figures, what its quality is.
        of: name of that quality, short and in full.
    """
    plots = {}
    judged = (names[each.name] for each in report.artifacts if each.judged)
    drops = [
        (name, check.verdict, judgement.comparison.drop)
        for name, judgement in zip(judged, result.results, strict=True)
        for check in judgement.checks
        if check.name == "max-drop" and judgement.comparison
    ]
    if drops:
        plots["drop"] = drop_plot(drops, result.limits.max_drop, of)
    timed = [(file, file.latency, share(file)) for file in (report.baseline, *report.artifacts) if file.latency]
    if timed:
        short, full = of
        plots["trade_off"] = trade_off_plot(timed, names, (short, full[0].upper() + full[1:]))
    return plots


def layer_plots(report: AnyReport, sensitivity: Sequence[tuple[LayerSensitivity, float]]) -> dict[str, str]:
    """Those for which there is data."""
    plots = {}
    if report.layer_errors:
        plots["layers"] = layer_plot(report.layer_errors)
    if sensitivity:
        plots["sensitivity"] = sensitivity_plot(sensitivity)
    return plots


def noise_shares(rows: Sequence[LayerSensitivity]) -> list[tuple[LayerSensitivity, float]]:
    """Layers that cost anything, with their noise in percent of the signal, worst first."""
    shares = [(each, 100 * 10 ** (-each.snr_db / 10)) for each in rows if each.snr_db is not None]
    return sorted(shares, key=lambda row: -row[1])


def _template(name: str) -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return printable(value) if type(value) is str else value

    environment = Environment(
        loader=PackageLoader("edgex", "page"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    return environment.get_template(name)
