"""A folder of vectors in Parquet: tweet_id, version, vector (fp16 [D]); a file a shard, sorted by id.

A file is written under another name and renamed, and one that is there is not made again. `plan.json` is there first
and says of which version and rows the files are; `manifest.json` is written last: a folder that has one is whole.

Shape suffixes: K tweets, D dimensions.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contract.artifact import Manifest
from contract.filesystems import open_url, write_whole
from contract.passwords import without_passwords
from training.encoding.shards import Refused
from training.errors import InputRejected

PLAN, MANIFEST = "plan.json", "manifest.json"
_REFUSED = b"refused"


@dataclass(frozen=True)
class Written:
    """What is in a shard's file: how many vectors, and the rows that have none."""

    rows: int
    refused: list[Refused]

    @property
    def lacks_pictures(self) -> bool:
        """Whether a row has none because of a picture beside the input, which may be another one by now."""
        return any(row.field == "image" and "image" in row.raw for row in self.refused)


class VectorFolder:
    """The files of one version and one input. Calls block."""

    def __init__(self, place: str, manifest: Manifest, source: Any) -> None:
        """`source`: what is encoded, as JSON.

        Raises StoreUnavailable where the place cannot be used; InputRejected where it has something else, as vectors of
        another version or input.
        """
        self._fs, self._root = open_url(place, "--to")
        self._manifest = manifest
        encoder = manifest.files["encoder.onnx"]
        self._plan = {"version": manifest.version, "encoder_sha256": encoder, "dim": manifest.dim, "source": source}
        self._claim(without_passwords(place))

    def _claim(self, shown: str) -> None:
        if self._fs.exists(f"{self._root}/{PLAN}"):
            if json.loads(self._fs.cat_file(f"{self._root}/{PLAN}")) != self._plan:
                raise InputRejected(f"{shown} has the vectors of another version or input: name another folder")
        elif self._fs.exists(self._root) and set(self._fs.ls(self._root, detail=False)) - set(self._left()):
            raise InputRejected(f"{shown} is not an empty folder: name a new one")
        else:
            self._write(PLAN, _as_json(self._plan))

    def written(self, shard: int) -> Written | None:
        """What an earlier call wrote of a shard; None where it did not."""
        path = f"{self._root}/{self._name(shard)}"
        if not self._fs.exists(path):
            return None
        with self._fs.open(path, "rb") as raw, pq.ParquetFile(raw) as file:
            refused = json.loads(file.schema_arrow.metadata[_REFUSED])
            return Written(file.metadata.num_rows, [Refused(**row) for row in refused])

    def write(
        self, shard: int, tweet_ids: Sequence[str], z_KD: npt.NDArray[np.float16], refused: Sequence[Refused]
    ) -> None:
        """A shard's file."""
        order_K = sorted(range(len(tweet_ids)), key=tweet_ids.__getitem__)
        values = pa.array(z_KD[order_K].reshape(-1), pa.float16())
        version = self._manifest.version
        table = pa.table(
            {
                "tweet_id": pa.array([tweet_ids[k] for k in order_K], pa.string()),
                "version": pa.DictionaryArray.from_arrays(np.zeros(len(order_K), dtype=np.int32), [version]),
                "vector": pa.FixedSizeListArray.from_arrays(values, self._manifest.dim),
            }
        )
        told = {_REFUSED: json.dumps([asdict(row) for row in refused], default=str)}
        file = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(told), file)
        self._write(self._name(shard), file.getvalue())

    def finish(self, shards: int, rows: int, refused: int) -> None:
        """Say that it is whole."""
        files = [self._name(shard) for shard in range(shards)]
        self._write(MANIFEST, _as_json({**self._plan, "tweets": rows, "rejected": refused, "files": files}))
        for path in self._left():
            self._fs.rm_file(path)

    def clear(self) -> None:
        """Remove the files, and what says that they are whole."""
        for path in [f"{self._root}/{MANIFEST}", *self._fs.glob(f"{self._root}/{self._manifest.version}-*.parquet")]:
            if self._fs.exists(path):
                self._fs.rm_file(path)

    def _name(self, shard: int) -> str:
        return f"{self._manifest.version}-{shard:06d}.parquet"

    def _write(self, name: str, data: bytes) -> None:
        write_whole(self._fs, f"{self._root}/{name}", data)

    def _left(self) -> list[str]:
        """Parts of files that a killed process was writing."""
        return list(self._fs.glob(f"{self._root}/*.partial"))


def _as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
