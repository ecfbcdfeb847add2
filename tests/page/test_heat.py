"""What the page shows of maps: warm where they are high, and nothing at all where there are none."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from synthetic import HOSTILE, Made, noise_image, small

from edgex.explanation import ArtifactMaps, Explanation, Heat, ImageMaps
from edgex.gate import judge
from edgex.page import report_page
from edgex.page.heat import SIDE, looks, overlaid
from edgex.preprocess import Pixels
from edgex.report import Report

CORNER: Heat = ((1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(int)


def explained(made: Made, heat: Heat = CORNER) -> Report:
    report = made.report()
    images = tuple(
        ImageMaps(
            image=made.image_names(number).encode(errors="replace").decode(),
            label=made.classes[0],
            flipped=number == 0,
            correlation=0.875,
            baseline=heat,
            artifact=CORNER,
        )
        for number in range(2)
    )
    maps = ArtifactMaps(name=made.judged[0], method="occlusion", reason=made.classes[0], changed=1, images=images)
    return report.model_copy(update={"explanation": Explanation(artifacts=(maps,))})


def page(made: Made, report: Report) -> str:
    return report_page(report, judge(report, made.limits), made.predictions(), made.pixels)


@pytest.mark.parametrize("shape", [(40, 20, 3), (20, 40, 1), (224, 112, 3)])
def test_warm_where_the_map_is_high(shape: tuple[int, ...]) -> None:
    found = picture(overlaid(np.full(shape, 128, np.uint8), CORNER))
    assert found.shape == (*(round(side * SIDE / max(shape[:2])) for side in shape[:2]), 3)
    height, width = found.shape[:2]
    hot, cold = found[: height // 6, : width // 6].mean(axis=(0, 1)), found[height // 2 :].mean(axis=(0, 1))
    assert hot[0] > cold[0] + 80  # yellow has red and green, and the cold blue has neither
    assert hot[1] > cold[1] + 80


def test_the_image_shows_through() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    found = picture(overlaid(pixels, ((0.0,),)))
    assert found[:, SIDE // 2 + 8 :].mean() > found[:, : SIDE // 2 - 8].mean() + 80


def test_images_are_shown_as_the_model_sees_them() -> None:
    made = small(settings={"preprocessing": {"size": [50, 50], "channels": 3, "resize": "crop"}})

    def pixels(_name: str) -> Pixels:
        image = np.zeros((60, 120, 3), np.uint8)
        image[:, 30:90] = 255
        return image

    (shown,) = looks(explained(made), pixels).values()
    assert shown.images[0].plain is not None
    assert picture(shown.images[0].plain).mean() > 250, "the black sides are cropped away"


def test_page_has_all_three_pictures_and_the_number() -> None:
    made = small()
    text = page(made, explained(made))
    section = text[text.index('id="explanation"') : text.index('id="provenance"')]
    assert section.count("<img ") == 6
    assert section.count("0.875</strong>") == 2
    assert "Occlusion (Zeiler" in section
    assert re.findall(r"<h4>(\w+): (\d+)", section) == [("Changed", "1"), ("Others", "1")]


def test_page_without_an_explanation_is_as_ever() -> None:
    made = small()
    plain = made.page()
    assert "explanation" not in plain
    assert "looks" not in plain
    text = page(made, explained(made))
    start, end = text.index("<style>\n.looks"), text.index('<h2 id="provenance">')
    assert (text[:start] + text[end:]).split() == plain.split()


def test_images_that_are_gone() -> None:
    made = replace(small(), pixels=lambda _name: None)
    text = page(made, explained(made))
    section = text[text.index('id="explanation"') :]
    assert "image cannot be read" in section


def test_hostile_names_are_text() -> None:
    for name in HOSTILE[:2]:
        made = small(classes=(name, "b"), image_names=lambda index: f"{name}{index}", pixels=noise_image)  # noqa: B023
        text = page(made, explained(made))
        assert "<script" not in text
        assert "<img src=x" not in text
