"""python -m training models report: every version, how it was trained and how it did, as a page and as JSON lines."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.artifact import Manifest, read_manifest
from contract.errors import ArtifactInvalid
from training.errors import InputRejected
from training.export import CURVE
from training.models import KnownVersion
from training.report.versions import versions_page


@dataclass(frozen=True)
class VersionHistory:
    """A version, what its manifest says, and its training by epoch; None and nothing where the folder is gone."""

    known: KnownVersion
    manifest: Manifest | None
    curve: list[dict[str, float]]

    def told(self) -> dict[str, Any]:
        """As one JSON line."""
        manifest = None if self.manifest is None else self.manifest.model_dump(mode="json")
        kept = ("created_at", "data", "settings", "git_revision", "libraries")
        return {
            "version": self.known.version,
            "status": self.known.status,
            "metrics": self.known.metrics or (manifest or {}).get("metrics", {}),
            **({} if manifest is None else {name: manifest[name] for name in kept}),
            "curve": self.curve,
        }


def report_versions(out: Path, known: list[KnownVersion], models_dir: Path) -> None:
    """Write `index.html` and `versions.jsonl` into a folder. Raises InputRejected where there is no version yet."""
    if not known:
        raise InputRejected("there is no version yet: run `python -m training retrain`")
    told = [history_of(one, models_dir).told() for one in known]
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(one, default=str) + "\n" for one in told)
    (out / "versions.jsonl").write_text(lines, "utf-8")
    (out / "index.html").write_text(versions_page(told), "utf-8")


def history_of(known: KnownVersion, models_dir: Path) -> VersionHistory:
    """What there is of a version."""
    folder = models_dir / known.version
    try:
        manifest = read_manifest(folder)
    except ArtifactInvalid:  # its folder is gone, or of other code: SQL has its metrics still
        manifest = None
    curve = folder / CURVE
    return VersionHistory(known, manifest, read_curve(curve) if curve.exists() else [])


def read_curve(path: Path) -> list[dict[str, float]]:
    """A training by epoch. Raises InputRejected where the file is damaged."""
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except ValueError as error:
        raise InputRejected(f"{path} is damaged: remove it to do without ({error})") from error
