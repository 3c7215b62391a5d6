"""AMNL: tweet encoder, social attention, link, scorer (Zhao et al., IJCAI 2018, sections 3.1 to 3.3).

Shape suffixes: B tweets or users in a batch, S sentences, W words, F image features, H LSTM state, D dimensions of u
and z, N followees, E follow edges of all users of a batch, U users, M distinct users or tweets, C candidates, V words
of the vocabulary.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.link import ArrayFunctions, Link, combine
from contract.preprocessing import PAD_ID
from training.features import moments
from training.problem import Problem
from training.settings import Attention, TrainingSettings
from training.sharded import ShardedVectors
from training.word_vectors import pretrained

FEATURE_STD = 0.03
TORCH = ArrayFunctions(torch.where, torch.zeros_like, functional.softplus)


class TweetEncoder(nn.Module):
    """z = g(W_i x + W_d y): image features x and words to a tweet vector (section 3.1).

    Without features (None) it is AMNL_d, without a vocabulary AMNL_i.
    """

    def __init__(self, feature_dim: int | None, vocabulary: int | None, word_dim: int, text_dim: int, dim: int) -> None:
        super().__init__()
        self.feature_mean_F: Tensor
        self.feature_scale_F: Tensor
        self.image_to_z = self.text_to_z = None
        if feature_dim is not None:
            self.register_buffer("feature_mean_F", torch.zeros(feature_dim))
            self.register_buffer("feature_scale_F", torch.ones(feature_dim))
            self.image_to_z = nn.Linear(feature_dim, dim, bias=False)
        if vocabulary is not None:
            self.word_vectors = nn.Embedding(vocabulary, word_dim, padding_idx=PAD_ID, sparse=True)
            self.lstm = nn.LSTM(word_dim, text_dim, batch_first=True)
            self.text_to_z = nn.Linear(text_dim, dim, bias=False)

    @property
    def reads_anything(self) -> bool:
        """False for a network without content, whose tweets are free vectors alone."""
        return self.image_to_z is not None or self.text_to_z is not None

    def forward(self, x_BF: Tensor | None, token_ids_BSW: Tensor | None) -> Tensor:
        """z, float32 [B, D], from float32 [B, F] and int64 [B, S, W]; what the encoder does not read may be None."""
        parts = []
        if self.image_to_z is not None and x_BF is not None:
            parts.append(self.image_to_z((x_BF - self.feature_mean_F) * self.feature_scale_F))
        if self.text_to_z is not None and token_ids_BSW is not None:
            parts.append(self.text_to_z(self.text(token_ids_BSW)))
        z_BD: Tensor = scaled_tanh(torch.stack(parts).sum(dim=0))
        return z_BD

    def standardise(self, x_TF: Tensor) -> None:
        """Bring every feature to mean 0 and standard deviation FEATURE_STD over these pictures, float32 [T, F].

        The paper feeds x as it is. Backbone features are all positive and of uneven scale, so that z starts as one
        direction that all pictures share. One that hardly varies over these pictures may on others, or come to life
        when it is fine-tuned: it is not blown up to what the others are (docs/experiments.md).
        """
        mean_F, std_F = moments(x_TF)
        self.feature_mean_F.copy_(mean_F)
        self.feature_scale_F.copy_(FEATURE_STD / std_F)

    def text(self, token_ids_BSW: Tensor) -> Tensor:
        """y, float32 [B, H]: the elementwise max over sentences of the LSTM's state after each one's last word.

        Padding words and padding sentences are masked out; a tweet without words has y = 0.
        """
        spoken_BS = (token_ids_BSW != PAD_ID).any(dim=2)
        if torch.compiler.is_exporting():
            state_BSH = self.sentences(token_ids_BSW.flatten(0, 1)).reshape(*token_ids_BSW.shape[:2], -1)
            y_BH = state_BSH.masked_fill(~spoken_BS[:, :, None], -torch.inf).amax(dim=1)
        else:  # the same, each distinct sentence once
            sentence_MW, place_N = torch.unique(token_ids_BSW[spoken_BS], dim=0, return_inverse=True)
            state_NH = functional.embedding(place_N, self.sentences(sentence_MW))
            tweet_NH = spoken_BS.nonzero()[:, :1].expand(-1, state_NH.shape[1])
            y_BH = state_NH.new_full((len(token_ids_BSW), state_NH.shape[1]), -torch.inf)
            y_BH = y_BH.scatter_reduce(0, tweet_NH, state_NH, "amax")
        return torch.where(spoken_BS.any(dim=1, keepdim=True), y_BH, torch.zeros_like(y_BH))

    def sentences(self, ids_MW: Tensor) -> Tensor:
        """The LSTM's state after each sentence's last word, float32 [M, H], from int64 [M, W]; each has a word."""
        length_M = (ids_MW != PAD_ID).sum(dim=1)
        if torch.compiler.is_exporting():
            states_MWH, _ = self.lstm(self.word_vectors(ids_MW))
            last_M11 = (length_M - 1).clamp(min=0)[:, None, None]
            last_MH: Tensor = states_MWH.gather(1, last_M11.expand(-1, 1, states_MWH.shape[2])).squeeze(1)
            return last_MH
        by_length_M = torch.argsort(length_M)  # those of a length together, so that no padding is computed
        parts = enumerate(torch.split(by_length_M, torch.bincount(length_M).tolist()))
        states = [self._last_state(ids_MW[part, :length]) for length, part in parts if len(part)]
        state_MH = torch.cat(states) if states else self.word_vectors.weight.new_zeros(0, self.lstm.hidden_size)
        return state_MH[torch.argsort(by_length_M)]

    def _last_state(self, ids_MW: Tensor) -> Tensor:
        _, (state_1MH, _) = self.lstm(self.word_vectors(ids_MW))
        state_MH: Tensor = state_1MH[0]
        return state_MH


def scaled_tanh(a: Tensor) -> Tensor:
    """g(a) = 1.7159 tanh(2a/3) (section 3.1)."""
    return 1.7159 * torch.tanh(a * (2 / 3))


class SocialAttention(nn.Module):
    """How much each followee counts for a user (section 3.2): a softmax over the followees q of a user p.

    paper    p . tanh(W_s u_p + W_n u_q + b), as written
    similar  tau cos(u_p, u_q) with no gradient through it: who is alike counts more
    mean     every followee counts the same

    As written, attention learns by heart which followee's vector remembers which retweet; what a gradient teaches it on
    the retweets that made the vectors is of no use on others (docs/experiments.md).
    """

    def __init__(self, dim: int, form: Attention, temperature: float) -> None:
        super().__init__()
        self.form: Attention = form
        self.temperature = temperature
        if form == "paper":
            self.user_projection = nn.Linear(dim, dim)
            self.followee_projection = nn.Linear(dim, dim, bias=False)
            self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, u_BD: Tensor, followees_BND: Tensor, mask_BN: Tensor | None) -> Tensor:
        """Attention, float32 [B, N]: sums to 1 over the followees that the mask names (None: all), 0 elsewhere.

        B may be left out, here and in `queries` and `keys`.
        """
        score_BN = self.scores(self.queries(u_BD)[..., None, :], self.keys(followees_BND))
        if mask_BN is None:
            return torch.softmax(score_BN, dim=-1)
        lowest = torch.finfo(score_BN.dtype).min
        return torch.softmax(score_BN.masked_fill(~mask_BN, lowest), dim=-1) * mask_BN

    def of_edges(self, u_UD: Tensor, user_E: Tensor, followees_MD: Tensor, followee_E: Tensor) -> Tensor:
        """Attention, float32 [E], of edges from u_UD[user_E] to followees_MD[followee_E]; sums to 1 over a user's."""
        score_E = self.scores(self.queries(u_UD)[user_E], self.keys(followees_MD)[followee_E])
        highest_U = score_E.new_full((len(u_UD),), -torch.inf).scatter_reduce(0, user_E, score_E.detach(), "amax")
        weight_E = torch.exp(score_E - highest_U[user_E])
        total_U = score_E.new_zeros(len(u_UD)).index_add(0, user_E, weight_E)
        return weight_E / total_U[user_E]

    def queries(self, u_BD: Tensor) -> Tensor:
        """What the form needs of a user: W_s u + b, or sqrt(tau) u / |u|, or of each vector a number to count by."""
        return self.user_projection(u_BD) if self.form == "paper" else self._untaught(u_BD)

    def keys(self, u_BD: Tensor) -> Tensor:
        """What the form needs of a followee: W_n u, or as of a user."""
        return self.followee_projection(u_BD) if self.form == "paper" else self._untaught(u_BD)

    def scores(self, query_D: Tensor, key_D: Tensor) -> Tensor:
        """Scores over the last dimension; the others broadcast, but for the mean, which is the keys' alone."""
        score: Tensor
        match self.form:
            case "mean":
                score = key_D.squeeze(-1) * 0
            case "similar":
                score = _sum(query_D * key_D)
            case _:
                score = self.score(torch.tanh(query_D + key_D)).squeeze(-1)
        return score

    def _untaught(self, u_BD: Tensor) -> Tensor:
        u_BD = u_BD.detach()
        if self.form == "mean":
            return u_BD[..., :1]
        length_B1 = _sum(u_BD.square()).sqrt().clamp(min=1e-12).unsqueeze(-1)
        return u_BD / length_B1 * math.sqrt(self.temperature)


def _sum(x_D: Tensor) -> Tensor:
    """Over the last dimension, by a product: ONNX Runtime gets a sum wrong where another dimension is empty."""
    return (x_D @ x_D.new_ones(x_D.shape[-1], 1)).squeeze(-1)


class Scores(NamedTuple):
    """Scores of candidates and what they are made of; `score` is `personal` times or plus `social` (see `combine`)."""

    score_BC: Tensor
    personal_BC: Tensor
    social_BC: Tensor
    attention_BN: Tensor


class Ranker(nn.Module):
    """F(z) from the personal facet f(z) = u . z and the social facet h(z) = ubar . z (section 3.2)."""

    def __init__(self, dim: int, link: Link, attention: Attention, temperature: float) -> None:
        super().__init__()
        self.attention = SocialAttention(dim, attention, temperature)
        self.link: Link = link

    def forward(self, u_BD: Tensor, known_B: Tensor, followees_BND: Tensor, mask_BN: Tensor, z_BCD: Tensor) -> Scores:
        """Score candidates z, float32 [B, C, D].

        `known_B` (bool) says which users have a vector, `mask_BN` which followees are real. A facet that is absent (an
        unknown user, no followees) takes the link's neutral value and so drops out.
        """
        u_BD = u_BD * known_B[:, None]
        ubar_BD, attention_BN = self.followee_mean(u_BD, followees_BND, mask_BN)
        facets = self.score(u_BD, ubar_BD, known_B, mask_BN.sum(dim=1) > 0, z_BCD)
        return Scores(*facets, attention_BN)

    def followee_mean(self, u_BD: Tensor, followees_BND: Tensor, mask_BN: Tensor | None) -> tuple[Tensor, Tensor]:
        """ubar = sum_q alpha_q u_q, float32 [B, D], and the attention alpha, float32 [B, N]; B may be left out.

        `mask_BN` says which followees are real (None: all).
        """
        attention_BN: Tensor = self.attention(u_BD, followees_BND, mask_BN)
        return (attention_BN[..., None, :] @ followees_BND).squeeze(-2), attention_BN

    def score(
        self, u_BD: Tensor, ubar_BD: Tensor, known_B: Tensor, social_B: Tensor, z_BCD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score, personal and social part, float32 [B, C] each; `social_B` (bool) says who follows anyone.

        Who is not known has u = 0, who follows nobody ubar = 0.
        """
        f_BC = (z_BCD @ u_BD[:, :, None]).squeeze(-1)
        h_BC = (z_BCD @ ubar_BD[:, :, None]).squeeze(-1)
        return combine(self.link, f_BC, h_BC, known_B[:, None], social_B[:, None], TORCH)


class Amnl(nn.Module):
    """All that is trained, against one problem: the users' vectors, the tweet encoder and the ranker.

    `residual` adds a free vector to every tweet's z and `item_bias` a free bias to its score: for networks whose tweets
    have no content, or stay for long.
    """

    def __init__(self, problem: Problem, settings: TrainingSettings, sharded: ShardedVectors | None = None) -> None:
        """Every parameter is drawn from N(0, init_std^2) (section 4.3); padding's word vector and biases are 0.

        Words that have a pretrained vector start from that. `sharded`: the users' vectors, where no process has all.
        """
        super().__init__()
        content, dim, std = problem.content, settings.dim, settings.init_std
        features = None if content.x_TF is None else content.x_TF.shape[1]
        vocabulary = None if content.token_ids_TSW is None else content.vocabulary
        self.user_vectors = nn.Embedding(problem.users, dim, sparse=True) if sharded is None else sharded
        self.encoder = TweetEncoder(features, vocabulary, settings.word_dim, settings.text_dim, dim)
        self.ranker = Ranker(dim, settings.link, settings.attention, settings.temperature)
        self.residual = nn.Embedding(problem.tweets, dim, sparse=True) if settings.residual else None
        if sharded is not None:
            sharded.draw(std)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=std)
        self.item_bias = nn.Embedding(problem.tweets, 1, sparse=True) if settings.item_bias else None
        with torch.no_grad():
            if self.item_bias is not None:
                self.item_bias.weight.zero_()
            if vocabulary is not None:
                word_VD, start_VD = self.encoder.word_vectors.weight, pretrained(content, settings)
                word_VD.copy_(torch.where(start_VD.any(dim=1, keepdim=True), start_VD, word_VD))
                word_VD[PAD_ID] = 0
            if content.x_TF is not None:
                self.encoder.standardise(content.x_TF[problem.seen_in_training])
