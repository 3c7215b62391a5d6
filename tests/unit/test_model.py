"""The model's equations, beside numpy's version of them.

Shape suffixes: as in training/model.py, and G the four gates of the LSTM one after another.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.link import Link, combine
from contract.preprocessing import Preprocessing, token_ids
from training.features import moments
from training.model import FEATURE_STD, TORCH, Ranker, SocialAttention, TweetEncoder, scaled_tanh
from training.problem import Floats
from training.settings import Attention
from training.tokenizer import train_tokenizer

FORMS: list[Attention] = ["paper", "similar", "mean"]
LINKS: list[Link] = ["product", "softplus", "sum", "personal", "social"]
TEXTS = [[[1, 2, 3], [4]], [], [[5, 1]], [[2], [3, 3], [1, 4, 5, 2]], [[5], [2, 1, 3]]]
"""Words by sentence by tweet."""
U_BD = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6], [-0.7, 0.9, 0.2]])
FOLLOWEES_BND = torch.tensor(
    [
        [[1.0, -0.5, 0.2], [-0.4, 0.6, 1.1], [0.9, 1.3, -0.8]],
        [[0.1, 0.7, -1.5], [9.0, 9.0, 9.0], [9.0, 9.0, 9.0]],
        [[9.0, 9.0, 9.0], [9.0, 9.0, 9.0], [9.0, 9.0, 9.0]],
    ]
)
MASK_BN = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
Z_BCD = torch.tensor([[[0.5, -1.0, 0.3], [1.2, 0.1, -0.4]]]).expand(3, 2, 3)


def padded(texts: list[list[list[int]]]) -> Tensor:
    """Token ids int64 [B, S, W]."""
    ids_BSW = torch.zeros(len(texts), 3, 5, dtype=torch.int64)
    for b, sentences in enumerate(texts):
        for s, words in enumerate(sentences):
            ids_BSW[b, s, : len(words)] = torch.tensor(words)
    return ids_BSW


def encoder(features: int | None = 4, vocabulary: int | None = 6) -> TweetEncoder:
    torch.manual_seed(0)
    return TweetEncoder(features, vocabulary, word_dim=2, text_dim=4, dim=3).eval()


def of(module: torch.nn.Module, name: str) -> Floats:
    return np.asarray(module.get_parameter(name).detach().double().numpy())


def sigmoid(a: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-a)))


def state_after(model: TweetEncoder, words: list[int]) -> Floats:
    """An LSTM's, float64 [H], by its equations."""
    bias_G = of(model, "lstm.bias_ih_l0") + of(model, "lstm.bias_hh_l0")
    cell_H = hidden_H = np.zeros(4)
    for q_D in of(model, "word_vectors.weight")[words]:
        gates_G = of(model, "lstm.weight_ih_l0") @ q_D + of(model, "lstm.weight_hh_l0") @ hidden_H + bias_G
        enter_H, keep_H, new_H, show_H = np.split(gates_G, 4)
        cell_H = sigmoid(keep_H) * cell_H + sigmoid(enter_H) * np.tanh(new_H)
        hidden_H = sigmoid(show_H) * np.tanh(cell_H)
    return np.asarray(hidden_H)


def y_of(model: TweetEncoder, sentences: list[list[int]]) -> Floats:
    """float64 [H]."""
    states = [state_after(model, words) for words in sentences]
    return np.asarray(np.max(states, axis=0) if states else np.zeros(4))


def weights_by_hand(attention: SocialAttention, u_D: Floats, followees_ND: Floats) -> Floats:
    """A softmax over scores, float64 [N]."""
    scores = []
    for q_D in followees_ND:
        match attention.form:
            case "mean":
                scores.append(0.0)
            case "similar":
                length = max(float(np.linalg.norm(u_D) * np.linalg.norm(q_D)), 1e-12)
                scores.append(attention.temperature * float(u_D @ q_D) / length)
            case "paper":
                of_user_D = of(attention, "user_projection.weight") @ u_D + of(attention, "user_projection.bias")
                hidden_D = np.tanh(of_user_D + of(attention, "followee_projection.weight") @ q_D)
                scores.append(float(of(attention, "score.weight")[0] @ hidden_D))
    weight_N = np.exp(scores)
    return np.asarray(weight_N / weight_N.sum())


def expected_attention(attention: SocialAttention, u_BD: Tensor = U_BD) -> Floats:
    """float64 [B, N], 0 where there is no followee."""
    weight_BN = np.zeros(MASK_BN.shape)
    for b, mask_N in enumerate(MASK_BN.numpy()):
        if mask_N.any():
            followees_ND = FOLLOWEES_BND[b].double().numpy()[mask_N]
            weight_BN[b, mask_N] = weights_by_hand(attention, u_BD[b].double().numpy(), followees_ND)
    return weight_BN


def social_attention(form: Attention) -> SocialAttention:
    """As the trainer draws it, only wider, so that followees count unlike."""
    torch.manual_seed(0)
    attention = SocialAttention(3, form, temperature=2.5)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    return attention


def ranker(link: Link, form: Attention) -> Ranker:
    made = Ranker(3, link, form, 2.5)
    made.attention = social_attention(form)
    return made


def test_g_is_the_scaled_tanh_that_takes_1_to_1() -> None:
    a_N = torch.tensor([-1e4, -1.5, -1.0, 0.0, 1.0, 1.5, 1e4])
    assert scaled_tanh(a_N).tolist() == pytest.approx([-1.7159, -1.30682, -1, 0, 1, 1.30682, 1.7159], abs=1e-4)


@torch.no_grad()
def test_y_is_the_maximum_over_sentences_of_the_state_after_the_last_word() -> None:
    model = encoder()
    y_BH = model.text(padded(TEXTS)).numpy()
    for b, sentences in enumerate(TEXTS):
        assert y_BH[b] == pytest.approx(y_of(model, sentences), abs=1e-6), b


@torch.no_grad()
def test_a_tweet_without_text_has_y_0_alone_or_among_others() -> None:
    model = encoder()
    assert model.text(padded(TEXTS))[1].tolist() == [0, 0, 0, 0]
    assert model.text(padded([[], []])).tolist() == [[0, 0, 0, 0]] * 2
    assert model.text(torch.zeros(1, 1, 1, dtype=torch.int64)).tolist() == [[0, 0, 0, 0]]


@torch.no_grad()
@pytest.mark.parametrize("texts", [TEXTS, [[]], [[[3, 1]]]], ids=["several", "none", "one"])
def test_what_is_exported_computes_the_same_y(texts: list[list[list[int]]], monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids_BSW = encoder(), padded(texts)
    trained_BH = model.text(ids_BSW)
    monkeypatch.setattr("torch.compiler.is_exporting", lambda: True)
    assert torch.allclose(model.text(ids_BSW), trained_BH, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("pictures", "words"), [(True, True), (True, False), (False, True)])
def test_z_is_g_of_the_projected_picture_and_words(pictures: bool, words: bool) -> None:
    x_BF = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    model = encoder(4 if pictures else None, 6 if words else None)
    a_BD = np.zeros((5, 3))
    if pictures:
        model.feature_mean_F.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
        model.feature_scale_F.copy_(torch.tensor([2.0, 0.5, 3.0, 1.0]))
        standard_BF = (x_BF.double().numpy() - [1, -2, 0.5, 0]) * [2, 0.5, 3, 1]
        a_BD += standard_BF @ of(model, "image_to_z.weight").T
    if words:
        a_BD += np.array([y_of(model, sentences) for sentences in TEXTS]) @ of(model, "text_to_z.weight").T
    z_BD = model(x_BF if pictures else None, padded(TEXTS) if words else None)
    assert z_BD.numpy() == pytest.approx(1.7159 * np.tanh(2 * a_BD / 3), abs=1e-5)


def test_features_come_to_one_scale_but_what_hardly_varies_is_not_blown_up() -> None:
    x_TF = np.random.default_rng(0).normal(5, [1.0, 2.0, 4.0, 1e-3], (200, 4)).astype(np.float32)
    model = encoder()
    model.standardise(torch.from_numpy(x_TF))
    std_F = x_TF.std(axis=0, ddof=1)
    std_F[3] = 0.3 * np.sort(std_F)[1]
    assert model.feature_mean_F.numpy() == pytest.approx(x_TF.mean(axis=0), rel=1e-5)
    assert model.feature_scale_F.numpy() == pytest.approx(0.03 / std_F, rel=1e-4)
    assert FEATURE_STD == 0.03


def test_rounding_is_not_blown_up_where_pictures_are_alike() -> None:
    """Most features do not vary at all, and one by no more than what the backbone rounds."""
    x_TF = torch.full((50, 5), 0.2)
    x_TF[:, 0] += torch.randn(50, generator=torch.Generator().manual_seed(0)) * 1e-7
    _, std_F = moments(x_TF)
    assert float(std_F.min()) == pytest.approx(0.01 * 0.2, rel=1e-3)


@torch.no_grad()
def test_of_two_hundred_sentences_the_first_six_are_read() -> None:
    tokenizer, limits = train_tokenizer(["a b", "a b"]), Preprocessing(image_size=1)
    texts = ["a. " * 6 + "b. " * 194, "a. " * 200, "b. " * 200]
    ids_BSW = token_ids(tokenizer, texts, limits)
    assert ids_BSW.shape == (3, 6, 1)
    z_BD = encoder(None)(None, torch.from_numpy(ids_BSW))
    assert torch.equal(z_BD[0], z_BD[1])
    assert not torch.allclose(z_BD[0], z_BD[2], atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_attention_is_the_softmax_of_its_scores_over_the_real_followees(form: Attention) -> None:
    attention = social_attention(form)
    weight_BN = attention(U_BD, FOLLOWEES_BND, MASK_BN).detach().numpy()
    assert weight_BN == pytest.approx(expected_attention(attention), abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_attention_by_edges_is_the_same(form: Attention) -> None:
    attention = social_attention(form)
    user_E, place_E = MASK_BN.nonzero(as_tuple=True)
    weight_E = attention.of_edges(U_BD, user_E, FOLLOWEES_BND.flatten(0, 1), 3 * user_E + place_E)
    assert weight_E.detach().numpy() == pytest.approx(expected_attention(attention)[MASK_BN.numpy()], abs=1e-5)


@pytest.mark.parametrize(("form", "learned"), [("paper", True), ("similar", False), ("mean", False)])
def test_only_the_papers_attention_is_learned(form: Attention, learned: bool) -> None:
    attention, u_BD = social_attention(form), U_BD.clone().requires_grad_()
    followees_BND = FOLLOWEES_BND.clone().requires_grad_()
    assert attention(u_BD, followees_BND, MASK_BN).requires_grad == learned
    edge_E = torch.tensor([0, 1])
    assert attention.of_edges(u_BD, edge_E, u_BD, edge_E).requires_grad == learned


P, Q = np.log1p(np.exp(2)), np.log1p(np.exp(-3))
"""softplus(2) and softplus(-3)."""


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("product", [(-6, 2, -3), (2, 2, 1), (-3, 1, -3), (1, 1, 1)]),
        ("softplus", [(P * Q, P, Q), (P, P, 1), (Q, 1, Q), (1, 1, 1)]),
        ("sum", [(-1, 2, -3), (2, 2, 0), (-3, 0, -3), (0, 0, 0)]),
        ("personal", [(2, 2, 0), (2, 2, 0), (0, 0, 0), (0, 0, 0)]),
        ("social", [(-3, 0, -3), (0, 0, 0), (-3, 0, -3), (0, 0, 0)]),
    ],
)
def test_a_link_joins_the_facets_2_and_minus_3_and_one_that_is_absent_drops_out(
    link: Link, expected: list[tuple[float, float, float]]
) -> None:
    """Of a user with both facets, without followees, without a vector, and with neither."""
    known_B1, social_B1 = torch.tensor([[1], [1], [0], [0]]) > 0, torch.tensor([[1], [0], [1], [0]]) > 0
    parts = torch.cat(combine(link, 2.0 * known_B1, -3.0 * social_B1, known_B1, social_B1, TORCH), dim=1)
    assert parts.numpy() == pytest.approx(np.array(expected), abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_the_facets_are_u_and_the_weighted_followees_against_z(form: Attention) -> None:
    model, known_B = ranker("sum", form), torch.tensor([False, True, True])
    u_BD = U_BD * known_B[:, None]
    ubar_BD = np.einsum("bn,bnd->bd", expected_attention(model.attention, u_BD), FOLLOWEES_BND.double().numpy())
    z_BCD = Z_BCD.double().numpy()
    expected = [np.einsum("bd,bcd->bc", facet_BD, z_BCD) for facet_BD in (u_BD.double().numpy(), ubar_BD)]
    scores = model(U_BD, known_B, FOLLOWEES_BND, MASK_BN, Z_BCD)
    assert scores.personal_BC.numpy() == pytest.approx(expected[0], abs=1e-5)
    assert scores.social_BC.numpy() == pytest.approx(expected[1], abs=1e-5)
    assert scores.score_BC.numpy() == pytest.approx(expected[0] + expected[1], abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("followees", [0, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("link", LINKS)
def test_an_unknown_user_without_followees_has_the_neutral_score(link: Link, form: Attention, followees: int) -> None:
    model, nobody_1 = ranker(link, form), torch.tensor([False])
    followees_1ND, mask_1N = FOLLOWEES_BND[:1, :followees], torch.zeros(1, followees, dtype=torch.bool)
    scores = model(U_BD[:1], nobody_1, followees_1ND, mask_1N, Z_BCD[:1])
    assert scores.score_BC.tolist() == [[1, 1] if link in ("product", "softplus") else [0, 0]]
    assert scores.attention_BN.tolist() == [[0] * followees]
