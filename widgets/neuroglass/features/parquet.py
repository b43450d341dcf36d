"""Columns of NumPy arrays → Parquet files, a part of the rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroglass.features.corpus import need_store
from neuroglass.features.exact import I64

Columns = dict[str, Any]


class Tables:
    """Parquet files of a folder, written feature range by feature range.

    Args:
        folder: where; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._pa = need_store("pyarrow")
        self._parquet = need_store("pyarrow.parquet")
        self._writers: dict[str, Any] = {}

    def write(self, name: str, columns: Columns, rows: int = 1 << 17) -> None:
        """Append rows to a table, in row groups of so many.

        Raises:
            OSError: no space.
        """
        table = self._pa.table({k: _arrow(self._pa, v) for k, v in columns.items()})
        if name not in self._writers:
            self._writers[name] = self._parquet.ParquetWriter(
                self._folder / f"{name}.parquet",
                table.schema,
                compression="zstd",
                compression_level=9,
            )
        self._writers[name].write_table(table, row_group_size=rows)

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()


def _arrow(pa: Any, column: Any) -> Any:
    if isinstance(column, Ragged):
        offsets = pa.array(column.ends.astype(np.int32))
        return pa.ListArray.from_arrays(offsets, pa.array(column.flat))
    if isinstance(column, np.ndarray) and column.ndim == 2:
        ends = np.arange(len(column) + 1) * column.shape[1]
        return _arrow(pa, Ragged(ends, column.reshape(-1)))
    return column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)


class Ragged:
    """A column of lists: row i is flat[ends[i] : ends[i + 1]]."""

    def __init__(self, ends: I64, flat: npt.NDArray[Any]) -> None:
        self.ends, self.flat = ends, flat
