import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from contract.progress import silent
from training.ceilings import ceilings
from training.network import group
from training.synthesize import SynthesisSettings, Truth, draw_network
from training.synthesize.behaviour import PERSONAL_WEIGHT
from training.synthesize.cascades import DISCOVER, Exposure

USERS = 1_500
Drawn = tuple[Truth, list[Exposure]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    truth, _, exposures = draw_network(SynthesisSettings(size="paper", users=USERS, tweets=1_090), silent)
    return truth, exposures


def test_every_part_of_the_truth_counts(drawn: Drawn) -> None:
    truth, exposures = drawn
    shown = [exposure for exposure in exposures if exposure.source != DISCOVER]
    tweet_X = np.array([exposure.tweet for exposure in shown])
    retweeted_X = np.array([exposure.retweeted for exposure in shown])
    exposures_of = group(np.array([exposure.user for exposure in shown]), np.arange(len(shown)), USERS)
    auc = {}
    for name, score in ceilings(truth).items():
        by_user = []
        for user in range(USERS):
            retweeted_C, tweet_C = retweeted_X[exposures_of[user]], tweet_X[exposures_of[user]]
            if retweeted_C.any() and not retweeted_C.all():
                by_user.append(roc_auc_score(retweeted_C, score(user, tweet_C)))
        assert len(by_user) > 400
        auc[name] = float(np.mean(by_user))
    assert 0.92 < auc["bayes"] < 0.95
    assert auc["bayes"] > auc["content only"] > auc["uniform attention"] + 0.01
    assert auc["content only"] > max(auc["personal only"], auc["social only"]) + 0.005
    assert auc["uniform attention"] > max(auc["personal only"], auc["social only"])


def test_bayes_is_the_logged_probability(drawn: Drawn) -> None:
    truth, exposures = drawn
    bayes = ceilings(truth)["bayes"]
    for exposure in exposures[::1_000]:
        logit = bayes(exposure.user, np.array([exposure.tweet]))
        assert 1 / (1 + np.exp(-logit)) == pytest.approx([exposure.probability])


def test_the_attention_of_one_followee_is_uniform(drawn: Drawn) -> None:
    truth, _ = drawn
    scores = ceilings(truth)
    tweet_C = np.arange(200)
    user = int(np.flatnonzero(np.bincount(truth.follower_E, minlength=USERS) == 1)[0])
    attentive_C, uniform_C, personal_C = (
        scores[name](user, tweet_C) for name in ("content only", "uniform attention", "personal only")
    )
    assert attentive_C.dtype == np.float64
    social_C, mean_C = attentive_C - PERSONAL_WEIGHT * personal_C, uniform_C - PERSONAL_WEIGHT * personal_C
    assert np.corrcoef(social_C, mean_C)[0, 1] > 1 - 1e-9
    assert np.corrcoef(attentive_C, uniform_C)[0, 1] > 0.99


def test_nobody_to_follow_leaves_what_is_personal(drawn: Drawn) -> None:
    truth, _ = drawn
    scores = ceilings(truth)
    tweet_C = np.arange(50)
    user = int(np.flatnonzero(np.bincount(truth.follower_E, minlength=USERS) == 0)[0])
    assert not scores["social only"](user, tweet_C).any()
    personal_C = PERSONAL_WEIGHT * scores["personal only"](user, tweet_C)
    assert scores["uniform attention"](user, tweet_C) == pytest.approx(personal_C)
