"""Reading numbers out of an HDF5 file that is not trusted."""

import math
import struct
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from edgex.errors import ModelError
from edgex.graph.ir import Array
from edgex.graph.limits import WEIGHTS_LIMIT

if TYPE_CHECKING:
    from mmap import mmap

    import h5py

HEAP_MAGIC = b"GCOL\x01\0\0\0"
HEAP_HEAD = 16
"""Bytes before the first object of a heap, and before the data of each object."""

REFUSED = "edgex reads plain arrays only, as Keras writes them: save the model again with model.save()."


class Hdf5File:
    """An open HDF5 file of which only plain numbers stored in the file itself are read.

    Links, virtual and external data could name other files; filters and shapes could unpack to more than memory
    holds. All are refused before they are followed.
    """

    def __init__(self, file: "h5py.File") -> None:
        self._file = file
        self._bytes_read = 0

    def members(self, path: str) -> tuple[str, ...]:
        """Names in a group; none if there is no such group."""
        group = self._find(path)
        return () if group is None else tuple(group)

    def text(self, path: str, attribute: str) -> str | None:
        """A string attribute of a group, or None."""
        value = self._attribute(path, attribute)
        return None if value is None else _decoded(value)

    def texts(self, path: str, attribute: str) -> list[str]:
        """A list of strings; Keras spreads one that is too long for HDF5 over ``attribute0``, ``attribute1``, …"""
        whole = self._attribute(path, attribute)
        if whole is not None:
            return [_decoded(item) for item in whole]
        numbered = (self._attribute(path, f"{attribute}{number}") for number in count())
        return [_decoded(item) for part in takewhile(lambda part: part is not None, numbered) for item in part]

    def array(self, path: str) -> Array:
        """A dataset as float32.

        Raises:
            ModelError: it is missing, not plain numbers of this file, or larger than can be.
        """
        import h5py

        dataset = self._find(path)
        if not isinstance(dataset, h5py.Dataset):
            raise ModelError(f"it has no weights {path}", fix=REFUSED)
        if dataset.external or dataset.is_virtual:
            raise ModelError(f"its weights {path} are in another file", fix=REFUSED)
        bfloat16 = dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2
        if not bfloat16 and dataset.dtype.kind not in "fiu":
            raise ModelError(f"its weights {path} are of type {dataset.dtype}, not numbers", fix=REFUSED)
        _check_layout(path, dataset)
        self._check_size(path, dataset)
        values = np.asarray(dataset[()])
        if bfloat16:
            values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False)

    def _check_size(self, path: str, dataset: Any) -> None:
        elements = math.prod(dataset.shape)
        stored = dataset.id.get_storage_size()
        self._bytes_read += elements * np.float32().itemsize
        if elements * dataset.dtype.itemsize > stored or self._bytes_read > WEIGHTS_LIMIT:
            raise ModelError(
                f"its weights {path} claim the shape {dataset.shape} in {stored} stored bytes: a decompression bomb, "
                "or larger than any model for an edge device",
                fix=REFUSED,
            )

    def _attribute(self, path: str, name: str) -> Any:
        """A string or an array of strings, or None. The HDF5 library crashes on some types that no Keras writes."""
        import h5py

        item = self._find(path)
        if item is None or name not in item.attrs:
            return None
        identifier = item.attrs.get_id(name)
        if 0 in identifier.shape:
            return []
        if identifier.get_type().get_class() != h5py.h5t.STRING:
            raise ModelError(f"its attribute {name!r} is not text", fix=REFUSED)
        return item.attrs[name]

    def _find(self, path: str) -> Any:
        """The group or dataset at a path, or None. A link is looked at before it is followed."""
        import h5py

        item: Any = self._file
        for name in filter(None, path.split("/")):
            link = item.get(name, getclass=True, getlink=True) if isinstance(item, h5py.Group) else None
            if link is None:
                return None
            if link is not h5py.HardLink:
                raise ModelError(f"{name!r} in {path} is a link to elsewhere", fix=REFUSED)
            item = item[name]
        return item


def _check_layout(path: str, dataset: Any) -> None:
    """Refuse data in chunks, which may be packed by filters that unpack without end. Keras writes arrays whole."""
    import h5py

    created = dataset.id.get_create_plist()
    if created.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        return
    filters = [created.get_filter(number) for number in range(created.get_nfilters())]
    names = ", ".join(name.decode(errors="replace") or f"number {code}" for code, _, _, name in filters)
    how = f"through the filters {names}" if filters else "in chunks"
    raise ModelError(f"its weights {path} are stored {how}", fix=REFUSED)


def check_string_heaps(content: "bytes | mmap") -> None:
    """Refuse global heaps, where HDF5 keeps strings, that would send the HDF5 library round in circles for ever.

    A heap is ``GCOL``, a version and its size, then objects: index, references, size, data padded to 8 bytes. Object 0
    is free space, whose size counts its own head (HDF5 File Format Specification 3.0, III.E).

    Raises:
        ValueError: an object does not end within its heap, or before it begins.
    """
    start = content.find(HEAP_MAGIC)
    while start >= 0:
        (size,) = struct.unpack_from("<Q", content, start + 8)
        position, end = start + HEAP_HEAD, start + size
        while position + HEAP_HEAD <= end:
            index, size = struct.unpack_from("<H6xQ", content, position)
            step = size if index == 0 else HEAP_HEAD + -(-size // 8) * 8
            if not HEAP_HEAD <= step <= end - position:
                raise ValueError(f"the string heap at byte {start} is inconsistent")
            position += step
        start = content.find(HEAP_MAGIC, max(end, start + HEAP_HEAD))


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
