"""What a retrain can be told; saved beside the weights and in the manifest."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from contract.artifact import Sampling
from contract.link import Link

BackboneName = Literal["vgg16", "efficientnet_lite0", "tiny"]
Loss = Literal["hinge", "bpr", "softmax"]
Attention = Literal["paper", "similar", "mean"]
Finetune = Literal["none", "fc", "all"]
Device = Literal["cpu", "cuda"]
WordVectors = Literal["none", "trained"] | Path
Negatives = Sampling


class TrainingSettings(BaseModel):
    """Names and symbols follow the paper (section 4.3) where it has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    link: Link = Field("sum", description="how the personal and the social facet make the score")
    loss: Loss = Field("softmax", description="pairwise ranking loss")
    attention: Attention = Field("mean", description="what makes a followee count")
    temperature: PositiveFloat = Field(2.0, description="tau of attention by similarity")
    residual: bool = Field(False, description="a free vector for every tweet beside its content")
    item_bias: bool = Field(False, description="a free bias for every tweet")
    dim: PositiveInt = Field(64, description="d, of users and tweets")
    text_dim: PositiveInt = Field(64, description="LSTM state")
    word_dim: PositiveInt = Field(64, description="word vectors")
    word_vectors: WordVectors = Field(
        "none", description="what they start from: none, random; trained, on the training text; or a file"
    )
    backbone: BackboneName = Field("efficientnet_lite0", description="image backbone")
    weights: Path | None = Field(None, description="the backbone's state dict; unset: its ImageNet weights")
    finetune: Finetune = Field("none", description="what of the backbone is trained: its last layers fc, all, none")
    backbone_rate: PositiveFloat = Field(1e-5, description="learning rate of what is trained of the backbone")
    epochs: PositiveInt = Field(12, description="passes over the training retweets")
    batch: PositiveInt = Field(2048, description="triples a step")
    learning_rate: PositiveFloat = Field(0.02, description="Adagrad's")
    margin: float = Field(0.5, gt=0, lt=1, description="c of the hinge loss")
    l2: float = Field(3e-5, ge=0, description="beta of beta |Psi|^2")
    init_std: PositiveFloat = Field(0.05, description="sigma of the initial N(0, sigma^2)")
    patience: PositiveInt = Field(1_000, description="epochs without a better validation AUC that end training")
    sampling: Negatives = Field("matched", description="where negatives come from")
    negatives: PositiveInt = Field(8, description="negatives a retweet and epoch")
    test_share: float = Field(0.2, gt=0, lt=0.5, description="newest share of retweets, judged on and not trained on")
    validation_share: float = Field(0.1, gt=0, lt=0.5, description="last share of training time, picks the epoch")
    seed: int = Field(0, ge=0, description="of all random numbers of the training")


BY_TORCHRUN = "torchrun --standalone --nproc-per-node 2 -m training retrain"
"""How several processes of one machine are started."""


class Placement(BaseModel):
    """Where a training is computed: what comes of it is the same but for rounding, so a run may go on elsewhere."""

    model_config = ConfigDict(frozen=True)

    device: Device = Field("cpu", description="what trains; cuda: of several processes each has a GPU")
    shard_users: bool = Field(False, description="each process holds a part of the users' vectors (needs torchrun)")


class Gate(BaseModel):
    """When a new version may take the active one's place."""

    model_config = ConfigDict(frozen=True)

    worse_by: float = Field(0.01, ge=0, description="how much worse its AUC may be and still serve")
    force: bool = Field(False, description="it may serve however much worse it is; this is recorded")
