"""What a bearer key may do."""

from typing import Literal, get_args

KeyScope = Literal["read", "write", "admin"]
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
