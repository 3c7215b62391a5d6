"""What the service can be told by environment variables."""

import ipaddress

from pydantic import Field, SecretStr, model_validator

from contract.environment import StoreSettings
from contract.runtime import Device


class Settings(StoreSettings):
    """Frozen and read once, at the start."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    api_key: SecretStr | None = Field(
        default=None, min_length=1, description="bearer key of requests to /users and /tweets"
    )
    device: Device = Field(default="auto", description="where the encoder runs: auto, cpu or cuda")
    queue_size: int = Field(default=64, ge=1, description="posted tweets in work at a time; one more is answered 429")
    max_batch: int = Field(default=16, ge=1, description="tweets encoded at a time")

    @model_validator(mode="after")
    def refuse_open_door(self) -> "Settings":
        """Without a key only this machine may ask."""
        if self.api_key is None and not _is_loopback(self.host):
            raise ValueError(f"HOST={self.host} is reachable by others: set API_KEY, or HOST=127.0.0.1")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
