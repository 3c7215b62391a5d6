"""Tables of whole numbers, as public data sets bring them."""

import warnings
from pathlib import Path

import numpy as np

from training.errors import InputRejected
from training.network import Ints


def whole_numbers(path: Path, columns: int, header: int, source: str) -> Ints:
    """Int64 [rows, columns] from a file split by tabs, after some lines of header.

    Raises InputRejected, with the path and the first wrong line, where the file is missing or empty, or holds anything
    but so many whole numbers from 0 a line.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "loadtxt: input contained no data")
            table = np.loadtxt(path, dtype=np.int64, delimiter="\t", skiprows=header, ndmin=2, comments=None)
    except OSError as error:
        raise InputRejected(f"{path} is missing: give the folder of {source}") from error
    except ValueError as error:
        wrong = _first_wrong_line(path, columns, header) or str(error).splitlines()[0]
        raise InputRejected(f"{path} {wrong}: is it the file of {source}?") from error
    if not len(table):
        raise InputRejected(f"{path} has no rows: is it the file of {source}?")
    if table.shape[1] != columns or table.min() < 0:
        raise InputRejected(f"{path} {_first_wrong_line(path, columns, header)}: is it the file of {source}?")
    return table


def _first_wrong_line(path: Path, columns: int, header: int) -> str:
    """Empty where every line is right."""
    lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines[header:], start=header + 1):
        fields = line.rstrip("\r").split("\t")
        if fields == [""]:
            continue
        if len(fields) != columns:
            return f"line {number} has {len(fields)} columns, not {columns}"
        for column, field in enumerate(fields, start=1):
            if not (field.isascii() and field.isdigit()):
                return f"line {number}, column {column}: {field!r} is no whole number from 0"
    return ""
