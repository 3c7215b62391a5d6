"""`python -m service` with an encoder that throws or hangs while a file of that name is in the folder FAULTS."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from contract.runtime import OnnxModel
from service.__main__ import main

FAULTS = Path(os.environ["FAULTS"])
encode = OnnxModel.encode


def faulty(model: OnnxModel, *inputs: Any) -> Any:
    while (FAULTS / "hangs").exists():
        time.sleep(0.05)
    if (FAULTS / "throws").exists():
        raise RuntimeError("CUDA failure 719: unspecified launch failure")
    return encode(model, *inputs)


OnnxModel.encode = faulty  # type: ignore[method-assign,assignment]
sys.exit(main([]))
