"""fit(): pairwise training of AMNL on a problem, resumable at every epoch.

Shape suffixes: B positives, K negatives of each, U distinct users of a batch, M distinct users or tweets, E follow
edges, T image tweets, C candidates, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.progress import Progress
from training.errors import NotForThisNetwork
from training.evaluate import Scorer
from training.factors import distinct
from training.finetune import Tuned
from training.model import Amnl
from training.network import Grouped, Ints, group
from training.problem import Bools, CandidateLists, Floats, Problem, rows_of
from training.processes import ALONE, Processes
from training.sampling import triple_sampler
from training.settings import Placement, TrainingSettings
from training.sharded import ShardedVectors
from training.touched import ALL, Psi, Touched, squares
from training.trainer import Curve, Pairs, Schedule, Triples, train

_CHUNK = 100_000


@dataclass(frozen=True)
class Fitted:
    """The best epoch's model, the numbers of the users whose vectors were trained, the metrics by epoch, a scorer.

    The vectors, float32 [U, D] on the CPU, are the first process's alone. Of several, all must call the scorer.
    """

    model: Amnl
    users: Ints
    vectors_UD: Tensor
    curve: Curve
    scorer: Scorer


def fit(
    problem: Problem,
    settings: TrainingSettings,
    checkpoint: Path | None,
    progress: Progress,
    tuned: Tuned | None = None,
    placement: Placement = Placement(),
    processes: Processes = ALONE,
) -> Fitted:
    """Train on the training period and keep the epoch with the best AUC on the validation lists.

    A backbone's part that is `tuned` is trained too, in place; the problem's features are those it starts from. A
    checkpoint that is there is gone on from. Of several processes all make the same call, with the same problem. Raises
    NotEnoughData where the periods are too thin, NotForThisNetwork where fine-tuning has no pictures, TrainingDiverged
    where the loss is not finite.
    """
    if settings.finetune != "none" and (tuned is None or problem.content.x_TF is None):
        raise NotForThisNetwork(f"--finetune {settings.finetune} needs pictures, which this network has none of")
    torch.manual_seed(settings.seed)
    sampler = triple_sampler(problem, settings.sampling)
    trained_users = problem.with_followees(sampler.user_P)
    device, table = torch.device(placement.device), None
    if placement.shard_users:
        table = ShardedVectors(problem.users, settings.dim, settings.learning_rate, device)
    trainee = Trainee(Amnl(problem, settings, table), problem, settings, trained_users, tuned).to(device)
    label = f"fit ({settings.link}, {settings.loss})"
    rates = {} if tuned is None else {"tuned": settings.backbone_rate}
    told = replace(schedule(settings), rates=rates)
    curve = train(trainee, sampler, problem.validation, told, progress, label, checkpoint, processes)
    users, number_U = trainee.model.user_vectors, torch.from_numpy(trained_users)
    if isinstance(users, ShardedVectors):
        vectors_UD = users.gathered(number_U, processes.first)
    else:
        vectors_UD = users.weight.detach()[number_U].cpu()
    return Fitted(trainee.model.eval(), trained_users, vectors_UD, curve, processes.together(trainee.scorer()))


def schedule(settings: TrainingSettings) -> Schedule:
    """What the shared trainer is told."""
    return Schedule(
        epochs=settings.epochs,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        loss=settings.loss,
        margin=settings.margin,
        negatives=settings.negatives,
        patience=settings.patience,
        seed=settings.seed,
    )


class Trainee(nn.Module):
    """An AMNL model on a problem, as the shared trainer wants it.

    Each distinct tweet of a batch is encoded, and each distinct user's attention computed, once. Only users whose
    vector is trained, those that samples are drawn of and their followees, have one and count as followees, as in
    service; the others' are noise. What is tuned of a backbone is not a part of Psi: L2 would pull
    it away from what it was pretrained to.
    """

    def __init__(
        self,
        model: Amnl,
        problem: Problem,
        settings: TrainingSettings,
        trained_users: Ints,
        tuned: Tuned | None = None,
    ) -> None:
        super().__init__()
        self.model, self.problem, self.settings, self.tuned = model, problem, settings, tuned
        self.known_U = np.zeros(problem.users, dtype=bool)
        self.known_U[trained_users] = True
        self.followees = known_followees(problem, self.known_U)

    def pairs(self, user_B: Ints, positive_B: Ints, negative_BK: Ints) -> Pairs:
        """F of positives and negatives, and beta |Psi|^2 of what the batch touched."""
        return self.pairs_of([(user_B, positive_B, negative_BK)], 0)

    def pairs_of(self, shares: Sequence[Triples], own: int) -> Pairs:
        """The same of one share of a batch: the penalties of all shares add up to the batch's."""
        user_B, _, _ = shares[own]
        tweet_M, place_BC = distinct(_tweets_of(shares[own]))
        user_U, user_place_B = np.unique(user_B, return_inverse=True)
        psi = self.psi(shares)
        u_UD, ubar_UD, social_U, touched = self.facets(user_U, psi.users)
        z_MD, bias_M, of_tweets = self.tweets(tweet_M, psi)
        place_B, place_BC = self.there(torch.from_numpy(user_place_B)), self.there(place_BC)
        z_BCD = functional.embedding(place_BC, z_MD)  # indexing, with a quicker gradient
        known_B = torch.ones_like(place_B, dtype=torch.bool)
        score_BC, _, _ = self.model.ranker.score(u_UD[place_B], ubar_UD[place_B], known_B, social_U[place_B], z_BCD)
        if bias_M is not None:
            score_BC = score_BC + bias_M[place_BC]
        dense = sum(p.square().sum() for name, p in self.model.named_parameters() if name.startswith(_DENSE))
        penalty = self.settings.l2 * (touched + of_tweets + dense / len(shares))
        return Pairs(score_BC[:, 0], score_BC[:, 1:], penalty)

    def psi(self, shares: Sequence[Triples]) -> Psi:
        """What several shares touch of Psi."""
        if len(shares) == 1:
            return ALL
        ids_TSW = self.problem.content.token_ids_TSW
        user_M = [np.unique(user_B) for user_B, _, _ in shares]
        tweet_M = [np.unique(_tweets_of(share)) for share in shares]
        members = (np.union1d(users, rows_of(self.followees, users)[1]) for users in user_M)
        words = None if ids_TSW is None else Touched.by(self.words(ids_TSW[some]).numpy() for some in tweet_M)
        return Psi(Touched.by(members), Touched.by(tweet_M), words)

    def words(self, ids_MSW: Tensor) -> Tensor:
        """The distinct words of some tweets, int64 [N]."""
        return torch.bincount(ids_MSW.flatten(), minlength=self.problem.content.vocabulary).nonzero().squeeze(1)

    def facets(self, user_U: Ints, counted: Touched | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """u (0 where it is unknown) and ubar, float32 [U, D] each, who follows anyone, bool [U], and |vectors|^2."""
        place_E, number_E = rows_of(self.followees, user_U)
        member_M, place = distinct(np.concatenate([user_U, number_E]))
        vectors_MD = self.model.user_vectors(self.there(member_M))
        place = self.there(place)
        known_U1 = self.there(torch.from_numpy(self.known_U[user_U])[:, None])
        u_UD, followee_E = vectors_MD[place[: len(user_U)]] * known_U1, place[len(user_U) :]
        user_E = self.there(torch.from_numpy(place_E))
        attention_E = self.model.ranker.attention.of_edges(u_UD, user_E, vectors_MD, followee_E)
        counts_U = self.there(torch.from_numpy(self.followees.counts[user_U]))
        starts_U = torch.cumsum(counts_U, 0) - counts_U
        ubar_UD = functional.embedding_bag(followee_E, vectors_MD, starts_U, mode="sum", per_sample_weights=attention_E)
        return u_UD, ubar_UD, counts_U > 0, squares(vectors_MD, member_M, counted)

    def tweets(self, tweet_M: Tensor, psi: Psi = ALL) -> tuple[Tensor, Tensor | None, Tensor]:
        """z, float32 [M, D], biases [M] where the model has them, and |what the tweets alone touch of Psi|^2."""
        model, content = self.model, self.problem.content
        sum_of_squares, z_MD = self.there(torch.zeros(())), self.there(torch.zeros(1))
        bias_M = None
        if model.encoder.reads_anything:
            x_MF = self.features(tweet_M)
            ids_MSW = None if content.token_ids_TSW is None else content.token_ids_TSW[tweet_M]
            z_MD = model.encoder(x_MF, None if ids_MSW is None else self.there(ids_MSW))
            if ids_MSW is not None and model.encoder.text_to_z is not None:
                word_N = self.words(ids_MSW)
                vectors_ND = model.encoder.word_vectors(self.there(word_N))
                sum_of_squares = sum_of_squares + squares(vectors_ND, word_N, psi.words)
        if model.residual is not None:
            free_MD = model.residual(self.there(tweet_M))
            z_MD, sum_of_squares = z_MD + free_MD, sum_of_squares + squares(free_MD, tweet_M, psi.tweets)
        if model.item_bias is not None:
            bias_M1 = model.item_bias(self.there(tweet_M))
            bias_M, sum_of_squares = bias_M1.squeeze(1), sum_of_squares + squares(bias_M1, tweet_M, psi.tweets)
        return z_MD, bias_M, sum_of_squares

    def features(self, tweet_M: Tensor) -> Tensor | None:
        """x of some tweets, float32 [M, F]: by what is tuned as it is now, else the problem's; None without either."""
        if self.tuned is not None:
            x_MF: Tensor = self.tuned(tweet_M)
            return x_MF
        x_TF = self.problem.content.x_TF
        return None if x_TF is None else self.there(x_TF[tweet_M])

    def there(self, values: Tensor) -> Tensor:
        """On the device that the model is on."""
        return values.to(self.model.user_vectors.weight.device)

    def scorer(self) -> Scorer:
        """Scores of candidates by the model as it is now."""
        return self.score

    @torch.inference_mode()
    def score(self, lists: CandidateLists) -> Floats:
        """Float32 [C]; only users whose vector was trained have one."""
        tweet_M, place_C = distinct(lists.tweet_C)
        z_MD, bias_M = self._all_tweets(tweet_M)
        u_UD, ubar_UD, social_U, _ = self.facets(lists.user_L)
        known_U = self.there(torch.from_numpy(self.known_U[lists.user_L]))
        parts = []
        for list_C, chunk_C in zip(
            torch.split(self.there(torch.from_numpy(lists.list_C)), _CHUNK),
            torch.split(self.there(place_C), _CHUNK),
            strict=True,
        ):
            score_C1, _, _ = self.model.ranker.score(
                u_UD[list_C],
                ubar_UD[list_C],
                known_U[list_C],
                social_U[list_C],
                z_MD[chunk_C][:, None],
            )
            parts.append(score_C1[:, 0] if bias_M is None else score_C1[:, 0] + bias_M[chunk_C])
        return np.asarray(torch.cat(parts).cpu().numpy())

    def _all_tweets(self, tweet_M: Tensor, batch: int = 512) -> tuple[Tensor, Tensor | None]:
        parts = [self.tweets(part) for part in torch.split(tweet_M, batch)]
        biases = [bias for _, bias, _ in parts if bias is not None]
        return torch.cat([z for z, _, _ in parts]), torch.cat(biases) if biases else None


def _tweets_of(triples: Triples) -> Ints:
    """The positive and the negatives of each, [B, 1 + K]."""
    _, positive_B, negative_BK = triples
    return np.concatenate([positive_B[:, None], negative_BK], axis=1)


_DENSE = ("encoder.lstm", "encoder.image_to_z", "encoder.text_to_z", "ranker")


def known_followees(problem: Problem, known_U: Bools) -> Grouped:
    """Followees whose vector is trained, by user."""
    follower_E = np.repeat(np.arange(problem.users), problem.followees.counts)
    kept_E = known_U[problem.followees.values]
    return group(follower_E[kept_E], problem.followees.values[kept_E], problem.users)
