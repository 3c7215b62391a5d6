"""AMNL: tweet encoder, social attention, link, scorer (Zhao et al., IJCAI 2018, sections 3.1 to 3.3).

Shape suffixes: B tweets or users in a batch, S sentences, W words, F image features, H LSTM state, D dimensions of u
and z, N followees, C candidates.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.preprocessing import PAD_ID
from training.settings import Link

FEATURE_STD = 0.03


class TweetEncoder(nn.Module):
    """z = g(W_i x + W_d y): image features x and words to a tweet vector (section 3.1)."""

    def __init__(self, feature_dim: int, vocabulary: int, word_dim: int, text_dim: int, dim: int) -> None:
        super().__init__()
        self.feature_mean_F: Tensor
        self.feature_scale_F: Tensor
        self.register_buffer("feature_mean_F", torch.zeros(feature_dim))
        self.register_buffer("feature_scale_F", torch.ones(feature_dim))
        self.word_vectors = nn.Embedding(vocabulary, word_dim, padding_idx=PAD_ID)
        self.lstm = nn.LSTM(word_dim, text_dim, batch_first=True)
        self.image_to_z = nn.Linear(feature_dim, dim, bias=False)
        self.text_to_z = nn.Linear(text_dim, dim, bias=False)

    def forward(self, x_BF: Tensor, token_ids_BSW: Tensor) -> Tensor:
        """z, float32 [B, D], from float32 [B, F] and int64 [B, S, W]."""
        standard_BF = (x_BF - self.feature_mean_F) * self.feature_scale_F
        return scaled_tanh(self.image_to_z(standard_BF) + self.text_to_z(self.text(token_ids_BSW)))

    def standardise(self, x_TF: Tensor) -> None:
        """Bring every feature to mean 0 and standard deviation FEATURE_STD over these pictures, float32 [T, F].

        The paper feeds x as it is. Backbone features are all positive and of uneven scale, so that z starts as one
        direction that all pictures share (docs/experiments.md).
        """
        std_F, mean_F = torch.std_mean(x_TF, dim=0)
        self.feature_mean_F.copy_(mean_F)
        self.feature_scale_F.copy_(FEATURE_STD / std_F.clamp(min=1e-6))

    def text(self, token_ids_BSW: Tensor) -> Tensor:
        """y, float32 [B, H]: the elementwise max over sentences of the LSTM's state after each one's last word.

        Padding words and padding sentences are masked out; a tweet without words has y = 0.
        """
        batch, sentences, words = token_ids_BSW.shape
        ids_MW = token_ids_BSW.reshape(batch * sentences, words)
        states_MWH, _ = self.lstm(self.word_vectors(ids_MW))
        length_M = (ids_MW != PAD_ID).sum(dim=1)
        last_M = (length_M - 1).clamp(min=0)
        state_MH = states_MWH.gather(1, last_M[:, None, None].expand(-1, 1, states_MWH.shape[2])).squeeze(1)
        state_BSH = state_MH.reshape(batch, sentences, -1)
        spoken_BS1 = (length_M > 0).reshape(batch, sentences, 1)
        y_BH = state_BSH.masked_fill(~spoken_BS1, -torch.inf).amax(dim=1)
        return torch.where(spoken_BS1.any(dim=1), y_BH, torch.zeros_like(y_BH))


def scaled_tanh(a: Tensor) -> Tensor:
    """g(a) = 1.7159 tanh(2a/3) (section 3.1)."""
    return 1.7159 * torch.tanh(a * (2 / 3))


class SocialAttention(nn.Module):
    """How much each followee counts for a user: softmax over q of p . tanh(W_s u_p + W_n u_q + b) (section 3.2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.user_projection = nn.Linear(dim, dim)
        self.followee_projection = nn.Linear(dim, dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, u_BD: Tensor, followees_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Attention, float32 [B, N]: sums to 1 over the followees that the mask names, 0 elsewhere."""
        hidden_BND = torch.tanh(self.user_projection(u_BD)[:, None, :] + self.followee_projection(followees_BND))
        score_BN = self.score(hidden_BND).squeeze(-1)
        lowest = torch.finfo(score_BN.dtype).min
        return torch.softmax(score_BN.masked_fill(~mask_BN, lowest), dim=1) * mask_BN


class Scores(NamedTuple):
    """Scores of candidates and what they are made of; `score` is `personal` times or plus `social` (see `combine`)."""

    score_BC: Tensor
    personal_BC: Tensor
    social_BC: Tensor
    attention_BN: Tensor


class Ranker(nn.Module):
    """F(z) from the personal facet f(z) = u . z and the social facet h(z) = ubar . z (section 3.2)."""

    def __init__(self, dim: int, link: Link) -> None:
        super().__init__()
        self.attention = SocialAttention(dim)
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

    def followee_mean(self, u_BD: Tensor, followees_BND: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
        """ubar = sum_q alpha_q u_q, float32 [B, D], and the attention alpha, float32 [B, N]."""
        attention_BN: Tensor = self.attention(u_BD, followees_BND, mask_BN)
        return (attention_BN[:, None, :] @ followees_BND).squeeze(1), attention_BN

    def score(
        self, u_BD: Tensor, ubar_BD: Tensor, known_B: Tensor, social_B: Tensor, z_BCD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score, personal and social part, float32 [B, C] each; `social_B` (bool) says who follows anyone."""
        f_BC = (z_BCD @ u_BD[:, :, None]).squeeze(-1)
        h_BC = (z_BCD @ ubar_BD[:, :, None]).squeeze(-1)
        return combine(self.link, f_BC, h_BC, known_B[:, None], social_B[:, None])


def combine(
    link: Link, f_BC: Tensor, h_BC: Tensor, has_personal_B1: Tensor, has_social_B1: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score, personal part and social part of a link.

    product    f h, the paper's equation 4
    softplus   softplus(f) softplus(h): positive factors, so that two dislikes do not multiply to a like
    sum        f + h
    """
    match link:
        case "product":
            personal_BC, social_BC = f_BC, h_BC
        case "softplus":
            personal_BC, social_BC = functional.softplus(f_BC), functional.softplus(h_BC)
        case "sum":
            personal_BC, social_BC = f_BC, h_BC
    neutral = torch.zeros_like(f_BC) if link == "sum" else torch.ones_like(f_BC)
    personal_BC = torch.where(has_personal_B1, personal_BC, neutral)
    social_BC = torch.where(has_social_B1, social_BC, neutral)
    score_BC = personal_BC + social_BC if link == "sum" else personal_BC * social_BC
    return score_BC, personal_BC, social_BC


class Amnl(nn.Module):
    """All that is trained: the users' vectors, the tweet encoder and the ranker."""

    def __init__(
        self,
        *,
        users: int,
        feature_dim: int,
        vocabulary: int,
        word_dim: int,
        text_dim: int,
        dim: int,
        link: Link,
        init_std: float,
    ) -> None:
        """Every parameter is drawn from N(0, init_std^2) (section 4.3), padding's word vector is 0."""
        super().__init__()
        self.user_vectors = nn.Embedding(users, dim)
        self.encoder = TweetEncoder(feature_dim, vocabulary, word_dim, text_dim, dim)
        self.ranker = Ranker(dim, link)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=init_std)
        with torch.no_grad():
            self.encoder.word_vectors.weight[PAD_ID] = 0
