"""EASE: a closed-form item-item model (Steck, WWW 2019), today's anchor.

B = I - P / diag(P) with P = (X'X + lambda I)^-1. Where there are fewer users than tweets, P comes from the users' side:
P = (I - X' (X X' + lambda I)^-1 X) / lambda. Shape suffixes: U users, A those of them with retweets, T tweets,
C candidates of one user.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from contract.progress import Progress
from training.baselines.settings import BaselineSettings
from training.evaluate import Scorer, list_by_list
from training.network import Ints
from training.problem import Floats, Problem
from training.trainer import Curve


def fit(problem: Problem, settings: BaselineSettings, seed: int, progress: Progress) -> tuple[Scorer, Curve]:  # noqa: ARG001
    """score = x_u B; nothing is drawn, so the seed changes nothing. `settings.l2` is lambda."""
    x_UT = problem.retweets
    active = np.unique(problem.user_P)
    rows_AT = csr_array(x_UT[active])
    kernel_AA = (rows_AT @ rows_AT.T).toarray() + settings.l2 * np.eye(len(active))
    factor = cho_factor(kernel_AA, overwrite_a=True)
    inverse_AA = cho_solve(factor, np.eye(len(active)))
    diagonal_T = _diagonal(rows_AT, inverse_AA, settings.l2)

    def score(user: int, tweet_C: Ints) -> Floats:
        x_T = x_UT[[user]].toarray()[0]
        if not x_T.any():
            return np.zeros(len(tweet_C))
        p_C = (x_T[tweet_C] - rows_AT[:, tweet_C].T @ (inverse_AA @ (rows_AT @ x_T))) / settings.l2
        return np.asarray(x_T[tweet_C] - p_C / diagonal_T[tweet_C])

    return list_by_list(score), []


def _diagonal(rows_AT: csr_array, inverse_AA: Floats, ridge: float) -> Floats:
    """diag(P), float64 [T]: (1 - x_t' K^-1 x_t) / lambda for each tweet's column x_t."""
    columns = rows_AT.tocsc()
    diagonal_T = np.empty(rows_AT.shape[1])
    for tweet in range(len(diagonal_T)):
        who = columns.indices[columns.indptr[tweet] : columns.indptr[tweet + 1]]
        diagonal_T[tweet] = (1 - inverse_AA[np.ix_(who, who)].sum()) / ridge
    return diagonal_T
