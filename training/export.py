"""The trained model as a folder that the service can use: encoder.onnx, ranker.onnx, user vectors, manifest.

Shape suffixes: B tweets, S sentences, W words, H height, W width (images), C colours or candidates, N followees,
D dimensions.
"""

import json
import shutil
import subprocess
import warnings
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.export import Dim

from contract.artifact import (
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    FILES,
    MANIFEST,
    RANKER_INPUTS,
    RANKER_OUTPUTS,
    GraphSpec,
    Manifest,
    TensorSpec,
    sha256,
)
from contract.preprocessing import Preprocessing
from training.backbones import Backbone
from training.model import Amnl, Ranker, TweetEncoder
from training.network import Network
from training.settings import TrainingSettings
from training.train import Fitted

OPSET = 20
_LIBRARIES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "pillow", "tokenizers")


class EncoderGraph(nn.Module):
    """What encoder.onnx computes: pixels and token ids to z."""

    def __init__(self, backbone: Backbone, encoder: TweetEncoder) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder

    def forward(self, image_BHWC: Tensor, token_ids_BSW: Tensor) -> Tensor:
        """z, float32 [B, D], from uint8 [B, H, W, C] and int64 [B, S, W]."""
        z_BD: Tensor = self.encoder(self.backbone(image_BHWC), token_ids_BSW)
        return z_BD


class RankerGraph(nn.Module):
    """What ranker.onnx computes: one user's scores, from vectors as they are stored (fp16)."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(
        self, user_D: Tensor, known: Tensor, followees_ND: Tensor, z_CD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score, personal and social part, float32 [C] each, and attention, float32 [N]."""
        mask_N = torch.ones_like(followees_ND[:, 0], dtype=torch.bool)
        scores = self.ranker(
            user_D.float()[None], known[None], followees_ND.float()[None], mask_N[None], z_CD.float()[None]
        )
        return scores.score_BC[0], scores.personal_BC[0], scores.social_BC[0], scores.attention_BN[0]


def export(
    folder: Path,
    version: str,
    fitted: Fitted,
    backbone: Backbone,
    tokenizer: Tokenizer,
    preprocessing: Preprocessing,
    network: Network,
    metrics: dict[str, dict[str, float]],
    settings: TrainingSettings,
) -> tuple[EncoderGraph, RankerGraph]:
    """Write all files of an exported model into a new folder, the manifest last.

    Vectors are exported of the users who have a trained one. Returns the graphs in torch, for verification.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model, users = fitted.model, fitted.users
    encoder, ranker = EncoderGraph(backbone, model.encoder).eval(), RankerGraph(model.ranker).eval()
    vectors_UD = model.user_vectors.weight.detach()[torch.from_numpy(users)].half().numpy()
    golden = golden_inputs(model, preprocessing, vectors_UD)
    export_encoder(encoder, folder / "encoder.onnx", preprocessing.image_size)
    export_ranker(ranker, folder / "ranker.onnx", settings.dim)
    tokenizer.save(str(folder / "tokenizer.json"))
    np.save(folder / "user_vectors.npy", vectors_UD, allow_pickle=False)
    (folder / "user_ids.json").write_text(json.dumps([network.user_ids[int(user)] for user in users]), "utf-8")
    np.savez(folder / "golden.npz", allow_pickle=False, **golden, **golden_outputs(encoder, ranker, golden))
    (folder / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in fitted.curve), "utf-8")
    manifest = Manifest(
        version=version,
        created_at=datetime.now(UTC),
        dim=settings.dim,
        link=settings.link,
        backbone=settings.backbone,
        preprocessing=preprocessing,
        encoder=graph_spec(folder / "encoder.onnx"),
        ranker=graph_spec(folder / "ranker.onnx"),
        files={name: sha256(folder / name) for name in FILES},
        data=network.snapshot(),
        settings=settings.model_dump(mode="json"),
        metrics=metrics,
        libraries=_libraries(),
        git_revision=git_revision(),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")
    return encoder, ranker


def export_encoder(graph: EncoderGraph, path: Path, image_size: int) -> None:
    """Batch, sentences and words stay dynamic."""
    batch, sentences, words = Dim("batch"), Dim("sentences"), Dim("words")
    image_BHWC = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    token_ids_BSW = torch.ones(2, 3, 5, dtype=torch.int64)
    shapes = ({0: batch}, {0: batch, 1: sentences, 2: words})
    _to_onnx(graph, (image_BHWC, token_ids_BSW), path, ENCODER_INPUTS, ENCODER_OUTPUTS, shapes)


def export_ranker(graph: RankerGraph, path: Path, dim: int) -> None:
    """The counts of followees and of candidates stay dynamic; both may be 0."""
    followees_ND, z_CD = torch.zeros(3, dim, dtype=torch.float16), torch.zeros(5, dim, dtype=torch.float16)
    arguments = (z_CD[0], torch.tensor(True), followees_ND, z_CD)
    shapes = (None, None, {0: Dim("followees")}, {0: Dim("candidates")})
    _to_onnx(graph, arguments, path, RANKER_INPUTS, RANKER_OUTPUTS, shapes)


def golden_inputs(model: Amnl, preprocessing: Preprocessing, vectors_UD: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Made inputs of both graphs, the same for every export with these shapes, but for the real user vectors."""
    generator = np.random.default_rng(0)
    size, vocabulary = preprocessing.image_size, model.encoder.word_vectors.num_embeddings
    coarse_BHWC = generator.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    token_ids_BSW = generator.integers(1, vocabulary, (3, 3, 7))
    token_ids_BSW[1, 1:], token_ids_BSW[0, 2, 4:], token_ids_BSW[2] = 0, 0, 0
    z_CD = generator.uniform(-1.7, 1.7, (5, vectors_UD.shape[1]))
    return {
        "image": np.stack([_enlarge(image, size) for image in coarse_BHWC]),
        "token_ids": token_ids_BSW,
        "user_vector": vectors_UD[0],
        "user_known": np.asarray(True),
        "followee_vectors": vectors_UD[1:4],
        "candidate_vectors": z_CD.astype(np.float16),
    }


def golden_outputs(encoder: EncoderGraph, ranker: RankerGraph, golden: dict[str, Any]) -> dict[str, Any]:
    """What torch computes for the golden inputs."""
    with torch.inference_mode():
        encoded = encoder(*(torch.from_numpy(golden[name]) for name in ENCODER_INPUTS))
        ranked = ranker(*(torch.from_numpy(golden[name]) for name in RANKER_INPUTS))
    outputs = zip((*ENCODER_OUTPUTS, *RANKER_OUTPUTS), (encoded, *ranked), strict=True)
    return {name: value.numpy() for name, value in outputs}


def graph_spec(path: Path) -> GraphSpec:
    """Names, dtypes and shapes as the ONNX file declares them."""
    graph = onnx.load(path, load_external_data=False)
    opset = next(entry.version for entry in graph.opset_import if entry.domain == "")
    return GraphSpec(
        opset=opset,
        inputs=[_tensor_spec(value) for value in graph.graph.input],
        outputs=[_tensor_spec(value) for value in graph.graph.output],
    )


def _to_onnx(
    graph: nn.Module,
    arguments: tuple[Tensor, ...],
    path: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    shapes: Any,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own insides; verify() judges what it makes
        torch.onnx.export(
            graph,
            arguments,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )


def _enlarge(image_HWC: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    index = np.arange(size) * len(image_HWC) // size
    return image_HWC[index][:, index]


def _tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = library_version(name)
        except ModuleNotFoundError:
            continue  # one of the two ONNX Runtime distributions is not installed
    return found


def git_revision() -> str | None:
    """Of this code's working tree, marked where files differ from it; None without git or outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.strip() or None
