"""From measurements to the figures of each file, of networks that say what each pixel shows."""

from edgex.evaluate.maps import counted
from edgex.report import MapArtifactFigures, MapFileFigures
from edgex.report.maps import comparison_figures, image_counts
from edgex.segmentation import Agreement, MapComparison
from edgex.segmentation.predictions import MapPredictions
from edgex.validate.assemble import Measurements, file_facts, speedup_of


def assemble_maps(
    measured: Measurements, predictions: MapPredictions
) -> tuple[MapFileFigures, tuple[MapArtifactFigures, ...]]:
    """The figures of the baseline, and those of the artifacts. DataError if no pixel is counted."""
    names = predictions.about.class_names
    pixels = {model: counted(found.confusions) for model, found in predictions.of.items()}
    height, width = predictions.about.size
    before = measured.subjects[0].name
    artifacts = []
    for number, subject in enumerate(measured.subjects[1:], start=1):
        changed = predictions.changed(subject.name)
        agreement = Agreement(height * width - changed, height * width)
        discordant = int((changed > 0).sum())
        comparison = MapComparison(names, pixels[before], pixels[subject.name], discordant, agreement)
        artifacts.append(
            MapArtifactFigures(
                **file_facts(measured, number, len(predictions)),
                counts=image_counts(pixels[subject.name]),
                changed=tuple(changed.tolist()),
                comparison=comparison_figures(comparison),
                snr_db=predictions.snr_db(subject.name),
                speedup=speedup_of(measured, number),
            )
        )
    baseline = MapFileFigures(**file_facts(measured, 0, len(predictions)), counts=image_counts(pixels[before]))
    return baseline, tuple(artifacts)
