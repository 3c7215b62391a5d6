"""What the service can be told by environment variables."""

import ipaddress

from pydantic import Field, SecretStr

from contract.environment import StoreSettings
from contract.graph import TIMELINE_LIMIT
from contract.runtime import Device


class Settings(StoreSettings):
    """Frozen and read once, at the start."""

    host: str = Field(default="127.0.0.1", description="address to listen on; any but loopback needs a key")
    port: int = Field(default=8000, ge=0, le=65_535, description="port to listen on; 0: any that is free")
    api_key: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="a bearer key that may do all; others are made by `python -m service keys`",
    )
    device: Device = Field(default="auto", description="where the encoder runs")
    queue_size: int = Field(default=64, ge=1, description="posted tweets in work at a time; one more is answered 429")
    max_batch: int = Field(default=16, ge=1, description="tweets encoded at a time")
    max_reads: int = Field(
        default=256,
        ge=1,
        description="reads in work at a time, of one key three quarters of them; one more is answered 429",
    )
    max_writes: int = Field(default=128, ge=1, description="the same of writes")
    max_candidates: int = Field(default=2_000, ge=1, le=100_000, description="tweets ranked for an answer, the newest")
    max_per_followee: int = Field(
        default=TIMELINE_LIMIT,
        ge=1,
        le=TIMELINE_LIMIT,
        description="of these, tweets from one followee's timeline, of which no more are kept",
    )
    drain_seconds: float = Field(
        default=2.0,
        ge=0,
        le=600,
        description="told to end (SIGTERM), it answers 503 at /health/ready and serves on so long, "
        "then ends what is under way",
    )
    held_mb: int = Field(
        default=512,
        ge=1,
        description="MB that a process holds of vectors, timelines and attention; when it is full, all is read anew",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can ask."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
