"""Errors that the command line prints as one line."""


class TrainingError(Exception):
    """Its message is one line for a person: what is wrong and how to mend it."""


class InputRejected(TrainingError):
    """A dataset folder, a weights file or a setting that cannot be used."""


class ExportFailed(TrainingError):
    """The network cannot be written to the folder, or not whole."""


class BackupFailed(TrainingError):
    """Cannot be backed up or restored there, or something is missing."""


class NotEnoughData(TrainingError):
    """The network has too little in it to train or to judge."""


class NotForThisNetwork(TrainingError):
    """The system needs something that the network has none of: pictures, text, times."""


class ParityFailed(TrainingError):
    """The exported graph does not compute what the trained model computes."""


class GateClosed(TrainingError):
    """A new version is worse than the active one."""


class TrainingDiverged(TrainingError):
    """The loss is not finite any more."""


class CheckpointFailed(TrainingError):
    """What several processes keep of an unfinished training cannot be written or read."""


class ProcessLost(TrainingError):
    """Another process of the same training is gone."""


class ClusterFailed(TrainingError):
    """There is no such Ray cluster, or its workers cannot work."""
