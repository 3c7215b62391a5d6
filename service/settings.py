"""What the service can be told by environment variables."""

import ipaddress

from pydantic import Field, SecretStr

from contract.environment import StoreSettings
from contract.graph import TIMELINE_LIMIT
from contract.runtime import Device


class Settings(StoreSettings):
    """Frozen and read once, at the start."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    api_key: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="a bearer key that may do all; others are made by `python -m service keys`",
    )
    device: Device = Field(default="auto", description="where the encoder runs: auto, cpu or cuda")
    queue_size: int = Field(default=64, ge=1, description="posted tweets in work at a time; one more is answered 429")
    max_batch: int = Field(default=16, ge=1, description="tweets encoded at a time")
    max_reads: int = Field(default=256, ge=1, description="reads in work at a time; one more is answered 429")
    max_writes: int = Field(default=128, ge=1, description="the same of writes")
    max_candidates: int = Field(default=2_000, ge=1, le=100_000, description="tweets ranked for an answer")
    max_per_followee: int = Field(
        default=TIMELINE_LIMIT, ge=1, le=TIMELINE_LIMIT, description="of one followee's timeline"
    )
    drain_seconds: float = Field(
        default=2.0, ge=0, le=600, description="told to end by SIGTERM: how long it serves on, as not ready"
    )
    held_mb: int = Field(default=512, ge=1, description="MB of vectors and timelines that a process holds in memory")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can ask."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
