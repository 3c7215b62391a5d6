"""Errors that a caller can mend; the service answers them as 4xx, a CLI prints them as one line.

ContractError
├── ImageRejected          the bytes are no picture that is taken in
│   ├── ImageTooLarge      too many bytes or pixels
│   └── ImageUnreadable    not an allowed format, or damaged
├── ArtifactInvalid        an exported model that does not verify
├── VersionGone            a version that was deleted meanwhile
├── VersionServes          a version that is to be deleted serves
├── StoreUnavailable       database, Redis or blob store cannot be used as configured
└── DeviceUnavailable      the asked-for device is not there
"""


class ContractError(Exception):
    """Its message is one line for a person: what is wrong and how to mend it."""


class ImageRejected(ContractError):
    """The bytes are no picture that is taken in."""


class ImageTooLarge(ImageRejected):
    """More bytes or pixels than the limit."""


class ImageUnreadable(ImageRejected):
    """Not an allowed format, or damaged."""


class ArtifactInvalid(ContractError):
    """An exported model that does not verify."""


class VersionGone(ContractError):
    """A version that was deleted meanwhile."""


class VersionServes(ContractError):
    """A version that is to be deleted serves."""


class StoreUnavailable(ContractError):
    """Database, Redis or blob store cannot be used as configured."""


class DeviceUnavailable(ContractError):
    """The device that was asked for is not there."""
