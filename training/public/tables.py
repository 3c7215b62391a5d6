"""Tables of whole numbers, as public data sets bring them."""

import warnings
from pathlib import Path

import numpy as np

from training.errors import InputRejected
from training.network import Ints


def whole_numbers(path: Path, columns: int, header: int, source: str) -> Ints:
    """Int64 [rows, columns] from a file split by tabs, after some lines of header.

    Raises InputRejected, with the path, where the file is missing or empty, or holds anything but whole numbers from 0.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            table = np.loadtxt(path, dtype=np.int64, delimiter="\t", skiprows=header, ndmin=2)
    except OSError as error:
        raise InputRejected(f"{path} is missing: give the folder of {source}") from error
    except ValueError as error:
        raise InputRejected(f"{path}: {str(error).splitlines()[0]}: whole numbers, split by tabs") from error
    if not len(table):
        raise InputRejected(f"{path} has no rows: is it the file of {source}?")
    if table.shape[1] != columns:
        raise InputRejected(f"{path} has {table.shape[1]} columns, not {columns}: is it the file of {source}?")
    if table.min() < 0:
        raise InputRejected(f"{path} has a number below 0: is it the file of {source}?")
    return table
