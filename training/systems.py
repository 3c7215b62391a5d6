"""Every system that the tables compare, by name: what it is and how it is trained on a network."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from contract.cli.options import UsageWrong
from contract.progress import Progress
from training.baselines import adabpr, citing, ease, famf, famf_visual, lightgcn, rrfm, vbpr
from training.baselines.settings import BaselineSettings
from training.errors import InputRejected, NotForThisNetwork
from training.evaluate import Scorer, followee_count_scorer, popularity_scorer, random_scorer, recency_scorer
from training.placebos import permuted_pictures, permuted_words, rewired_follows
from training.problem import Content, Problem
from training.settings import TrainingSettings
from training.train import Trainee, fit
from training.trainer import Curve

TUNED = Path(__file__).parent / "tuned.json"
"""Settings by network and system, picked on validation lists alone (python -m training tune)."""


Mix = Callable[[Problem, int], Problem]
"""A problem and a seed -> the same problem with something mixed that the model reads."""


@dataclass(frozen=True)
class Trained:
    """A system that has seen the training period, and how it got there (no epochs where there is nothing to train)."""

    scorer: Scorer
    curve: Curve
    settings: dict[str, Any]
    """All that it was told, what it has by default included."""
    scorer_on: Callable[[Problem], Scorer] | None = None
    """Of AMNL: the same model told of another problem's content and follows."""


Fit = Callable[[Problem, dict[str, Any], int, Progress], Trained]


def _amnl(fixed: dict[str, Any], keep: Callable[[Content], Content] | None = None, in_test: Mix | None = None) -> Fit:
    def run(problem: Problem, settings: dict[str, Any], seed: int, progress: Progress) -> Trained:
        judged = problem if in_test is None else in_test(problem, seed)

        def seen(whole: Problem) -> Problem:
            return replace(whole, content=(keep or _all)(whole.content))

        def scorer_on(other: Problem) -> Scorer:
            return Trainee(fitted.model, seen(other), told, fitted.users).scorer()

        told = TrainingSettings(**{**settings, **fixed, "seed": seed})
        fitted = fit(seen(problem), told, None, progress)
        return Trained(scorer_on(judged), fitted.curve, told.model_dump(mode="json"), scorer_on)

    return run


def _placebo(changed: Mix) -> Fit:
    def run(problem: Problem, settings: dict[str, Any], seed: int, progress: Progress) -> Trained:
        return AMNL_FAMILY["amnl"](changed(problem, seed), settings, seed, progress)

    return run


def _baseline(module: Any) -> Fit:
    def run(problem: Problem, settings: dict[str, Any], seed: int, progress: Progress) -> Trained:
        told = BaselineSettings(**settings)
        scorer, curve = module.fit(problem, told, seed, progress)
        return Trained(scorer, curve, asdict(told))

    return run


def _row(scorer_of: Callable[[Problem, int], Scorer | None]) -> Fit:
    def run(problem: Problem, settings: dict[str, Any], seed: int, progress: Progress) -> Trained:  # noqa: ARG001
        scorer = scorer_of(problem, seed)
        if scorer is None:
            raise NotForThisNetwork("it needs times, which this network has none of")
        return Trained(scorer, [], {})

    return run


def _all(content: Content) -> Content:
    return replace(content, token_ids_TSW=None) if content.x_is_text else content


def _pictures(content: Content) -> Content:
    if content.x_TF is None or content.x_is_text:
        raise NotForThisNetwork("it needs pictures, which this network has none of")
    return replace(content, token_ids_TSW=None)


def _words(content: Content) -> Content:
    if content.token_ids_TSW is None:
        raise NotForThisNetwork("it needs text, which this network has none of")
    if content.x_TF is None or content.x_is_text:
        raise NotForThisNetwork("there are no pictures to leave out: AMNL reads text alone here")
    return replace(content, x_TF=None)


PAPER: dict[str, Any] = {"link": "product", "loss": "hinge", "attention": "paper"}

VARIANTS: dict[str, Fit] = {
    "similar attention": _amnl({"attention": "similar"}),
    "paper attention": _amnl({"attention": "paper"}),
    "softplus": _amnl({"link": "softplus"}),
    "personal only": _amnl({"link": "personal"}),
    "social only": _amnl({"link": "social"}),
}
AMNL_FAMILY: dict[str, Fit] = {
    "amnl": _amnl({}),
    "amnl_i": _amnl({}, _pictures),
    "amnl_d": _amnl({}, _words),
    "amnl (product)": _amnl(PAPER),
    "amnl_i (product)": _amnl(PAPER, _pictures),
    "amnl_d (product)": _amnl(PAPER, _words),
    **VARIANTS,
}
IN_TEST: dict[str, Mix] = {
    "pictures permuted in test": permuted_pictures,
    "words permuted in test": permuted_words,
    "follows rewired in test": rewired_follows,
}
PLACEBOS: dict[str, Fit] = {
    "permuted pictures": _placebo(permuted_pictures),
    "permuted words": _placebo(permuted_words),
    "rewired follows": _placebo(rewired_follows),
    **{name: _amnl({}, in_test=mix) for name, mix in IN_TEST.items()},
}
"""AMNL on a network in which something that it reads tells nothing: what it loses there, it had from that.

Trained on such a network it learns to do without; told so in the test alone, it shows what it relied on.
"""
BASELINES: dict[str, Fit] = {
    "citing": _baseline(citing),
    "vbpr": _baseline(vbpr),
    "famf": _baseline(famf),
    "famf_visual": _baseline(famf_visual),
    "adabpr": _baseline(adabpr),
    "rrfm": _baseline(rrfm),
    "ease": _baseline(ease),
    "lightgcn": _baseline(lightgcn),
}
UNTRAINED: dict[str, Fit] = {
    "random": _row(lambda _, seed: random_scorer(seed)),
    "popularity": _row(lambda problem, _: popularity_scorer(problem)),
    "recency": _row(lambda problem, _: recency_scorer(problem)),
    "followee count": _row(lambda problem, _: followee_count_scorer(problem)),
}
SYSTEMS = AMNL_FAMILY | PLACEBOS | BASELINES | UNTRAINED
FIXED = {"ease", *UNTRAINED} - {"random"}
"""Systems in which nothing is drawn: one seed says all."""


def tuned(network: str, system: str) -> dict[str, Any]:
    """Settings of a system on a network; its ablations, variants and placebos have those of the whole AMNL.

    Empty for what has nothing to tune and for what is not for the network. Raises InputRejected where a system was not
    tuned.
    """
    of_network: dict[str, dict[str, Any] | None] = json.loads(TUNED.read_text("utf-8"))[network]
    family = system
    if system in AMNL_FAMILY | PLACEBOS:
        family = "amnl (product)" if "product" in system else "amnl"
    if family in AMNL_FAMILY | BASELINES and family not in of_network:
        raise InputRejected(f"{TUNED.name} has no settings of {family} on {network}: run `python -m training tune`")
    return of_network.get(family) or {}


def known_systems(names: str) -> list[str]:
    """Names that are split by commas. Raises UsageWrong for one that is no system."""
    told = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in told if name not in SYSTEMS]
    if unknown:
        raise UsageWrong(f"--systems: {unknown[0]} is none of {', '.join(SYSTEMS)}")
    return told
