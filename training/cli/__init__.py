"""The trainer's command line as a table of verbs: what they take and tell. What they do is in training/commands/."""

from contract.cli.completion import completion_verb
from contract.cli.statuses import Status
from contract.cli.verbs import Parser, Program, parser_of
from training.cli import adoption, backups, comparisons, data, encoding, retraining, versions
from training.errors import GateClosed, TrainingError

_SCRIPT = "image-tweets-training"

PROGRAM = Program(
    module="training",
    script=_SCRIPT,
    description="The trainer: datasets, training, versions that serve, backups and the tables of the paper.",
    verbs=(
        *data.VERBS,
        *adoption.VERBS,
        *backups.VERBS,
        *retraining.VERBS,
        *encoding.VERBS,
        *versions.VERBS,
        *comparisons.VERBS,
        completion_verb(_SCRIPT),
    ),
    families={"models": "which versions there are, and what is done with them"},
    expected={GateClosed: Status.GATE_CLOSED, TrainingError: Status.FAILED},
)


def parser() -> Parser:
    """All verbs and their options, without side effects, torch or a store."""
    return parser_of(PROGRAM)
