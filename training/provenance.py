"""What a model or a result was made with."""

import subprocess
from importlib.metadata import version as library_version
from pathlib import Path

_LIBRARIES = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "pillow", "tokenizers")


def libraries() -> dict[str, str]:
    """Versions of the libraries that an exported model depends on."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = library_version(name)
        except ModuleNotFoundError:
            continue  # one of the two ONNX Runtime distributions is not installed
    return found


def git_revision() -> str | None:
    """Of this code's working tree, marked where files differ from it; None without git or outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.strip() or None
