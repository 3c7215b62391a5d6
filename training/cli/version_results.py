"""What the verbs for versions tell."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from contract.cli.result import Result
from training.cli.retraining import whom


class Version(Result):
    """A version as SQL, Redis and the folder of models have it."""

    version: str = Field(description="its name")
    status: str = Field(description="active, kept, retired, not published, or on trial")
    created_at: datetime | None = Field(description="when it was published; null: never")
    activated_at: datetime | None = Field(description="when it was activated; null: never")
    active: bool = Field(description="whether it serves")
    kept: bool = Field(description="whether its vectors are there, so that it can serve at once")
    on_disk: bool = Field(description="whether its folder is there")
    metrics: dict[str, Any] = Field(description="by system, of held-out retweets; and how it did beside the one before")
    share: float | None = Field(description="of the users whom it serves on trial; null: it is on none")


class Listed(Result):
    """All versions."""

    models_dir: Path = Field(description="folder of their folders")
    versions: list[Version] = Field(description="each as `models show` tells it, without the manifest")

    def table(self) -> list[str]:
        """A line a version."""
        head = f"{'version':<32} {'status':<14} {'created':<20} {'activated':<20} {'auc':>6}  folder"
        return [head, *map(self._line, self.versions)]

    def _line(self, known: Version) -> str:
        created, activated = (f"{at:%Y-%m-%d %H:%M:%S}" if at else "-" for at in (known.created_at, known.activated_at))
        auc = f"{known.metrics['amnl']['auc']:6.3f}" if "amnl" in known.metrics else f"{'-':>6}"
        folder = self.models_dir / known.version if known.on_disk else "gone"
        return f"{known.version:<32} {known.status:<14} {created:<20} {activated:<20} {auc}  {folder}"


class Shown(Version):
    """With its manifest."""

    manifest: dict[str, Any] | None = Field(description="manifest.json; null: its folder is gone")

    def table(self) -> list[str]:
        """JSON for people, too."""
        return [self.model_dump_json(indent=2)]


class Verified(Result):
    """A version whose files are whole and whose outputs are as they were."""

    version: str = Field(description="which verifies")
    largest_difference: float = Field(description="of golden outputs, as a share of their largest values")

    def done(self) -> str:
        """A line."""
        worst = f"{self.largest_difference:.1e}"
        return f"version {self.version} verifies: golden outputs differ by at most {worst} of their largest values"


class Compared(Result):
    """Two versions on the same retweets."""

    version: str = Field(description="the one")
    other: str = Field(description="the other")
    users: int = Field(description="users whose retweets were ranked")
    auc: float = Field(description="of the one")
    other_auc: float = Field(description="of the other")
    difference: float = Field(description="the one's AUC less the other's")
    difference_low: float = Field(description="lower end of its 95 % interval")
    difference_high: float = Field(description="upper end")
    told: str = Field(exclude=True)

    def table(self) -> list[str]:
        """A line."""
        return [f"{self.version} beside {self.other}: {self.told}"]


class Serves(Result):
    """A version that was activated."""

    version: str = Field(description="which serves now")

    def done(self) -> str:
        """A line."""
        return f"version {self.version} serves now"


class Arm(BaseModel):
    """A version in a trial."""

    version: str
    users: int
    answers: int
    retweets: int


class OnTrial(Result):
    """A trial that begins, or how it does."""

    version: str = Field(description="the one on trial")
    share: float = Field(description="of the users whom it serves")
    since: datetime | None = Field(description="when it began; null: now")
    arms: list[Arm] | None = Field(
        description="version, users, answers and retweets of the active one and of that on trial; null: it begins now"
    )
    difference: dict[str, float] | None = Field(
        description="mean, low and high of retweets an answer, on trial less active; null: too little yet to compare"
    )
    lines: list[str] = Field(exclude=True)

    def table(self) -> list[str]:
        """Both arms."""
        return self.lines

    def done(self) -> str:
        """A line where it begins."""
        return f"version {self.version} {whom(self.share)} now" if self.arms is None else ""


class TrialEnded(Result):
    """No version is on trial."""

    ended: bool = Field(description="true: the active version serves everybody now")

    def done(self) -> str:
        """A line."""
        return "the active version serves everybody now"


class Reported(Result):
    """A page."""

    versions: int = Field(description="how many are in it")
    page: Path = Field(description="index.html")
    lines: Path = Field(description="versions.jsonl, a version a line")

    def done(self) -> str:
        """A line."""
        return f"{self.versions} versions: {self.page} and {self.lines}"


class Deleted(Result):
    """A version that is gone."""

    version: str = Field(description="which is deleted")
    folder: Path = Field(description="which is gone")

    def done(self) -> str:
        """A line."""
        return f"version {self.version} is deleted: its vectors, its metrics and {self.folder}"


class Redacted(Result):
    """Versions without deleted users."""

    versions: list[str] = Field(description="those that had some")
    models_dir: Path = Field(description="folder of their folders")

    def done(self) -> str:
        """A line."""
        if self.versions:
            return f"deleted users were taken out of {', '.join(self.versions)} in {self.models_dir}"
        return f"no exported model in {self.models_dir} has a deleted user"


class Rebuilt(Result):
    """What Redis has."""

    active: str = Field(description="the version that serves")
    versions: list[str] = Field(description="those whose vectors are written, the active one first")
    not_written: dict[str, str] = Field(description="those that could not be written, and why")

    def done(self) -> str:
        """A line."""
        vectors = ", ".join(self.versions)
        return f"Redis has the online network and the vectors of {vectors}; {self.active} serves"

    def warnings(self) -> list[str]:
        """Of versions that are missing."""
        return [
            f"NOT WRITTEN: {version} ({fault}); where it was on trial, that is ended"
            for version, fault in self.not_written.items()
        ]
