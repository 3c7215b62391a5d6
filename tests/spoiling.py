"""A version's folder, spoilt in every way that is to be refused."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from tokenizers import Tokenizer

from contract import artifact
from contract.artifact import FILES, MANIFEST

EVERY_FILE = [*FILES, MANIFEST]
Spoil = Callable[[Path], None]


def flip_a_byte(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def leave_out(folder: Path, name: str) -> None:
    (folder / name).unlink()


def cut(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def name_anew(folder: Path, name: str) -> None:
    """As if the file had always been so: the manifest has its hash."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["files"][name] = artifact.sha256(folder / name)
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def as_float32(folder: Path) -> None:
    np.save(folder / "user_vectors.npy", np.load(folder / "user_vectors.npy").astype(np.float32))
    name_anew(folder, "user_vectors.npy")


def one_user_less(folder: Path) -> None:
    np.save(folder / "user_vectors.npy", np.load(folder / "user_vectors.npy")[1:])
    name_anew(folder, "user_vectors.npy")


def not_a_number(folder: Path) -> None:
    vectors_UD = np.load(folder / "user_vectors.npy")
    vectors_UD[0, 0] = np.nan
    np.save(folder / "user_vectors.npy", vectors_UD)
    name_anew(folder, "user_vectors.npy")


def other_weights(folder: Path) -> None:
    path = folder / "encoder.onnx"
    graph = onnx.load(path)
    for weights in graph.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and len(weights.dims) > 1:
            weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1.1, weights.name))
    onnx.save(graph, path)
    name_anew(folder, "encoder.onnx")


def another_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["never-trained"])
    tokenizer.save(str(path))
    name_anew(folder, "tokenizer.json")


def another_order_of_words(folder: Path) -> None:
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text("utf-8"))
    words = told["model"]["vocab"]
    swapped = sorted(words, key=lambda word: words[word])
    told["model"]["vocab"] = dict(zip([*swapped[:2], *reversed(swapped[2:])], range(len(swapped)), strict=True))
    path.write_text(json.dumps(told), "utf-8")
    name_anew(folder, "tokenizer.json")


WAYS: dict[str, tuple[Spoil, str]] = {
    **{f"a flipped byte in {name}": (partial(flip_a_byte, name=name), rf"{name}.*SHA-256") for name in FILES},
    **{f"no {name}": (partial(leave_out, name=name), name) for name in EVERY_FILE},
    **{f"half of {name}": (partial(cut, name=name), name) for name in EVERY_FILE},
    "vectors in float32": (as_float32, "user_vectors.npy"),
    "one vector less": (one_user_less, "user_vectors.npy"),
    "a vector that is no number": (not_a_number, "user_vectors.npy"),
    "another model's weights": (other_weights, "golden"),
    "another tokenizer": (another_tokenizer, "tokenizer.json"),
    "another order of words": (another_order_of_words, "tokenizer.json"),
}
"""What is done to it, and what the reason must say (a regular expression)."""
