"""docs/configuration.md, from the classes of settings."""

from pydantic import BaseModel

from contract.environment import StoreSettings
from docs.generate.markdown import code, document, table
from docs.generate.schemas import Schema, default_in_words, type_in_words
from service.settings import Settings
from training.settings import Gate, Placement, TrainingSettings
from training.synthesize import SynthesisSettings

INTRODUCTION = """\
# Configuration

Written by `make docs` from the classes that read the settings. What is of a wrong type or out of its bounds ends the
program with a line that names it.

Environment variables are read once, at the start. An `.env` file is not read: `set -a && . ./environment` does that in
a shell, `EnvironmentFile=` in [systemd](production.md#systemd).
"""

TELEMETRY = """\
`OTEL_EXPORTER_OTLP_ENDPOINT` (none by default) says where the service sends OpenTelemetry spans and metrics, with the
other variables of OpenTelemetry's own specification; it needs `'.[otel]'`.
"""

OBJECT_STORES = """\
Where a bucket is and who asks has no settings here: botocore's `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_DEFAULT_REGION` and the rest do, or a machine's role; it needs `'.[s3]'`
([a bucket](production.md#pictures-and-models-in-a-bucket)).
"""

TRAINING = """\
Options of `python -m training retrain`; each stands in the manifest of the versions that it made. What they mean for
quality: [retraining](retraining.md), [experiments](experiments.md).
"""


def configuration_page() -> str:
    """Every setting with its type, its default and what it does."""
    of_stores = set(StoreSettings.model_fields)
    return document(
        INTRODUCTION,
        "## The stores: trainer and service",
        _settings(StoreSettings, "Variable", of_stores),
        "What an unset one means for where data is: [stores](production.md#stores).",
        OBJECT_STORES,
        "## The service",
        _settings(Settings, "Variable", set(Settings.model_fields) - of_stores),
        TELEMETRY,
        "## Training",
        TRAINING,
        _settings(TrainingSettings, "Option"),
        "## Where it is trained",
        "Options of `retrain`, too: which processes and devices, with `torchrun` "
        "([several processes](retraining.md#several-processes)).",
        _settings(Placement, "Option"),
        "## The gate",
        "Options of `retrain`, too: when a new version may take the active one's place.",
        _settings(Gate, "Option"),
        "## The made network",
        "Options of `python -m training synthesize`. What is none is the size's own.",
        _settings(SynthesisSettings, "Option"),
    )


_FLAGS = {"force", "shard_users"}
"""Options without a value."""


def _settings(model: type[BaseModel], kind: str, names: set[str] | None = None) -> str:
    fields = model.model_json_schema()["properties"]
    rows = [
        (
            code(name.upper() if kind == "Variable" else f"--{name.replace('_', '-')}"),
            default_in_words(field),
            "a flag" if name in _FLAGS else type_in_words(field),
            _meaning(model, name, field),
        )
        for name, field in fields.items()
        if names is None or name in names
    ]
    return table((kind, "Default", "Values", "Meaning"), rows)


def _meaning(model: type[BaseModel], name: str, field: Schema) -> str:
    if "description" not in field:
        raise ValueError(f"{model.__name__}.{name} has no description: give its Field one, for the page")
    return str(field["description"])
