"""Datasets: images, with or without labels or masks, in a fixed order, from every form that people keep them in.

=========================  =================================================================================
spec                       labels
=========================  =================================================================================
folder or .zip             of each image the first folder on its way, in alphabetical order; none if an image
                           lies in no folder. One folder around everything else does not count
folder or .zip, + labels   a CSV file with the columns ``path`` and ``label``; images it leaves out are left out
.csv                       the same, with paths relative to the file
.npz                       ``y``; the images are ``x``, uint8 (images, height, width, 1 or 3)
``digits``                 of the handwritten digits that ship with edgex; each role gets images of its own
=========================  =================================================================================

Labels that are all whole numbers are taken for class indices; others are numbered in alphabetical order.

For semantic segmentation a mask labels each pixel:

=====================  =====================================================================================
spec                   masks
=====================  =====================================================================================
folder or .zip with    of ``images/a/1.jpg`` it is ``masks/a/1.png``: palette or gray, whose values are class
images/ and masks/     indices. A file ``classes.txt`` beside the two may name the classes, one a line
.npz                   ``y``, uint8 (images, height, width)
=====================  =====================================================================================

A pixel of 255 is void: nobody says what it shows, and it is not counted. To calibrate with, the images alone are taken.
"""

from edgex.dataset.dataset import Batch, Dataset, DecodingLog, Item, MaskedBatch, check_disjoint
from edgex.dataset.opening import MAX_CLASSES, Role, open_dataset
from edgex.segmentation import VOID

__all__ = [
    "MAX_CLASSES",
    "VOID",
    "Batch",
    "Dataset",
    "DecodingLog",
    "Item",
    "MaskedBatch",
    "Role",
    "check_disjoint",
    "open_dataset",
]
