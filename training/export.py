"""The trained model as a folder that the service can use: its graphs as ONNX, the user vectors, the manifest.

Shape suffixes: B tweets, S sentences or draws, W words, H height, W width (images), C colours or candidates,
N followees, P retweets, K negatives of a draw, D dimensions.
"""

import json
import shutil
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
    FOLD_IN_INPUTS,
    FOLD_IN_OUTPUTS,
    GOLDEN_TEXT_IDS,
    GOLDEN_TEXTS,
    MANIFEST,
    RANKER_INPUTS,
    RANKER_OUTPUTS,
    Epoch,
    GraphSpec,
    Manifest,
    TensorSpec,
    sha256,
)
from contract.link import combine
from contract.preprocessing import PAD_ID, Preprocessing, token_ids
from training.backbones import Backbone
from training.fold_in import DRAWS, FoldIn
from training.model import TORCH, Amnl, Ranker, TweetEncoder
from training.network import Network, split_by_time
from training.provenance import git_revision, libraries
from training.settings import TrainingSettings
from training.tokenizer import vocabulary_of
from training.train import Fitted
from training.trainer import Curve

OPSET = 20
CURVE = "curve.jsonl"
"""Training by epoch: loss, seconds, metrics on the validation lists."""
_GOLDEN_WORDS = 200
_WORDS_A_TEXT = 10


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
    """What ranker.onnx computes, for one user: what candidates are multiplied by, and the scores of the products.

    The products themselves, two a candidate, are left to who has the candidates' vectors.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, user_D: Tensor, known: Tensor, followees_ND: Tensor, facets_2C: Tensor) -> tuple[Tensor, ...]:
        """Directions [2, D] and attention [N]; score, personal and social part, [C] each; all float32.

        The user's and the followees' vectors come as they are stored (fp16), the products [2, C] as float32.
        """
        u_D = user_D.float() * known
        ubar_D, attention_N = self.ranker.followee_mean(u_D, followees_ND.float(), None)
        f_C, h_C = facets_2C
        social = torch.ones_like(followees_ND[:, 0]).sum() > 0
        parts = combine(self.ranker.link, f_C, h_C, known, social, TORCH)
        return torch.stack([u_D, ubar_D]), attention_N, *parts


class Graphs(NamedTuple):
    """What is exported, in torch."""

    encoder: EncoderGraph
    ranker: RankerGraph
    fold_in: FoldIn


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
) -> Graphs:
    """Write all files of an exported model into a new folder, the manifest last.

    Vectors are exported of the users who have a trained one. Returns the graphs in torch, for verification.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model, users = fitted.model, fitted.users
    trained_UD = fitted.vectors_UD
    graphs = Graphs(
        EncoderGraph(backbone, model.encoder).eval(),
        RankerGraph(model.ranker).eval(),
        FoldIn(model.ranker, settings, trained_UD).eval(),
    )
    vectors_UD = trained_UD.half().numpy()
    golden = golden_inputs(model, preprocessing, vectors_UD, settings.negatives)
    texts = golden_texts(tokenizer)
    ids_BSW = token_ids(tokenizer, texts, preprocessing)
    export_encoder(graphs.encoder, folder / "encoder.onnx", preprocessing.image_size)
    export_ranker(graphs.ranker, folder / "ranker.onnx", settings.dim)
    export_fold_in(graphs.fold_in, folder / "fold_in.onnx", settings.dim, settings.negatives)
    tokenizer.save(str(folder / "tokenizer.json"))
    np.save(folder / "user_vectors.npy", vectors_UD, allow_pickle=False)
    (folder / "user_ids.json").write_text(json.dumps([network.user_ids[int(user)] for user in users]), "utf-8")
    words = {GOLDEN_TEXTS: np.array(texts), GOLDEN_TEXT_IDS: ids_BSW}
    np.savez(folder / "golden.npz", allow_pickle=False, **words, **golden, **golden_outputs(graphs, golden))
    (folder / CURVE).write_text("".join(json.dumps(point) + "\n" for point in fitted.curve), "utf-8")
    test_from = split_by_time(network, settings.test_share, settings.validation_share).test_from
    manifest = Manifest(
        version=version,
        created_at=datetime.now(UTC),
        dim=settings.dim,
        link=settings.link,
        sampling=settings.sampling,
        backbone=settings.backbone,
        preprocessing=preprocessing,
        vocabulary=tokenizer.get_vocab_size(),
        encoder=graph_spec(folder / "encoder.onnx"),
        ranker=graph_spec(folder / "ranker.onnx"),
        fold_in=graph_spec(folder / "fold_in.onnx"),
        files={name: sha256(folder / name) for name in (*FILES, CURVE)},
        data=network.snapshot(),
        judged_from=datetime.fromtimestamp(test_from / 1000, UTC),
        settings=settings.model_dump(mode="json"),
        curve=by_epoch(fitted.curve),
        metrics=metrics,
        libraries=libraries(),
        git_revision=git_revision(),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")
    return graphs


def by_epoch(curve: Curve) -> list[Epoch]:
    """The training as the manifest has it."""
    return [
        Epoch(epoch=int(point["epoch"]), loss=point["loss"], auc=point["auc"], seconds=point["seconds"])
        for point in curve
    ]


def export_encoder(graph: EncoderGraph, path: Path, image_size: int) -> None:
    """Batch, sentences and words stay dynamic."""
    batch, sentences, words = Dim("batch"), Dim("sentences"), Dim("words")
    image_BHWC = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    token_ids_BSW = torch.ones(2, 3, 5, dtype=torch.int64)
    shapes = ({0: batch}, {0: batch, 1: sentences, 2: words})
    _to_onnx(graph, (image_BHWC, token_ids_BSW), path, ENCODER_INPUTS, ENCODER_OUTPUTS, shapes)


def export_ranker(graph: RankerGraph, path: Path, dim: int) -> None:
    """The counts of followees and of candidates stay dynamic; both may be 0."""
    followees_ND = torch.zeros(3, dim, dtype=torch.float16)
    arguments = (followees_ND[0], torch.tensor(True), followees_ND, torch.zeros(2, 5))
    shapes = (None, None, {0: Dim("followees")}, {1: Dim("candidates")})
    _to_onnx(graph, arguments, path, RANKER_INPUTS, RANKER_OUTPUTS, shapes)


def export_fold_in(graph: FoldIn, path: Path, dim: int, negatives: int) -> None:
    """The counts of followees and of retweets stay dynamic; that of followees may be 0."""
    followees_ND, positive_PD = torch.zeros(3, dim, dtype=torch.float16), torch.zeros(5, dim, dtype=torch.float16)
    negative_PSKD = torch.zeros(5, DRAWS, negatives, dim, dtype=torch.float16)
    retweets = Dim("retweets")
    shapes = ({0: Dim("followees")}, {0: retweets}, {0: retweets})
    arguments = (followees_ND, positive_PD, negative_PSKD)
    _to_onnx(graph, arguments, path, FOLD_IN_INPUTS, FOLD_IN_OUTPUTS, shapes)


def golden_inputs(
    model: Amnl, preprocessing: Preprocessing, vectors_UD: np.ndarray[Any, Any], negatives: int
) -> dict[str, Any]:
    """Made inputs of all graphs; users' vectors are made, too, as long as the real ones are: those of nobody."""
    generator = np.random.default_rng(0)
    size, vocabulary = preprocessing.image_size, model.encoder.word_vectors.num_embeddings
    coarse_BHWC = generator.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    token_ids_BSW = generator.integers(1, vocabulary, (3, 3, 7))
    token_ids_BSW[1, 1:], token_ids_BSW[0, 2, 4:], token_ids_BSW[2] = 0, 0, 0
    u_4D = generator.normal(0, vectors_UD.std(dtype=np.float32), (4, vectors_UD.shape[1])).astype(np.float16)
    z_PD = generator.uniform(-1.7, 1.7, (2, vectors_UD.shape[1]))
    negative_PSKD = generator.uniform(-1.7, 1.7, (2, DRAWS, negatives, vectors_UD.shape[1]))
    return {
        "image": np.stack([_enlarge(image, size) for image in coarse_BHWC]),
        "token_ids": token_ids_BSW,
        "user_vector": u_4D[0],
        "user_known": np.asarray(True),
        "followee_vectors": u_4D[1:],
        "facets": generator.normal(size=(2, 5)).astype(np.float32),
        "retweet_vectors": z_PD.astype(np.float16),
        "negative_vectors": negative_PSKD.astype(np.float16),
    }


def golden_texts(tokenizer: Tokenizer) -> list[str]:
    """Some hundred words from all of the vocabulary, and one that is in none."""
    words = vocabulary_of(tokenizer)[PAD_ID + 1 :]
    some = words[:: max(1, len(words) // _GOLDEN_WORDS)]
    return [" ".join(some[start : start + _WORDS_A_TEXT]) for start in range(0, len(some), _WORDS_A_TEXT)] + [
        "A word of none: zzzqqq!"
    ]


def golden_outputs(graphs: Graphs, golden: dict[str, Any]) -> dict[str, Any]:
    """What torch computes for the golden inputs."""
    with torch.no_grad():
        encoded = graphs.encoder(*(torch.from_numpy(golden[name]) for name in ENCODER_INPUTS))
        ranked = graphs.ranker(*(torch.from_numpy(golden[name]) for name in RANKER_INPUTS))
        folded = graphs.fold_in(*(torch.from_numpy(golden[name]) for name in FOLD_IN_INPUTS))
    outputs = zip((*ENCODER_OUTPUTS, *RANKER_OUTPUTS, *FOLD_IN_OUTPUTS), (encoded, *ranked, folded), strict=True)
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
