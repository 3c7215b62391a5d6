"""python -m tests.chaos: every fault under load, on SQLite and on PostgreSQL; a table of what came of it.

Exit status 1 where anything that was acknowledged is lost or there twice, an answer was one that no fault excuses,
nothing was acknowledged, or it did not heal in time.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.environment import StoreSettings
from tests.chaos.faults import FAULTS
from tests.chaos.runs import (
    ENDED,
    KINDS,
    PAIR,
    Row,
    plain_site,
    proxied_site,
    run_ends,
    run_fault,
    run_pair,
    shortcomings,
    trained,
)
from tests.chaos.site import Valkey, valkey
from tests.conftest import copied_stores

PUBLISHED = ("fault", "database", "runs", "acknowledged", "lost", "duplicated", "reads_answered", "heal_seconds")


def main() -> int:
    """Run what is asked for, print the table, write the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of the service (default: 30); a fifth as often SIGTERM")
    parser.add_argument("--runs", type=int, default=2, help="of every other fault, a database (default: 2)")
    parser.add_argument("--databases", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    parser.add_argument("--only", default="", help="faults with this in their name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a folder for results.json")
    options = parser.parse_args()
    names = names_of(options)
    if not any(options.only in name for name in names):
        parser.error(f"--only {options.only!r} is in the name of no fault that would run: {'; '.join(names) or 'none'}")
    started = time.monotonic()
    rows: list[Row] = []
    with trained(options.databases.split(",")) as originals:
        for database, original in originals.items():
            rows += kill(database, original, options)
            rows += kill_one_of_two(database, original, options)
            rows += strike(database, original, options)
    print("\n" + table(rows))
    print(f"\n{len(rows)} rows in {time.monotonic() - started:.0f} s")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        file = options.out / "results.json"
        results = [{name: getattr(row, name) for name in PUBLISHED} for row in rows]
        file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        print(f"wrote {file}")
    return int(any(shortcomings(row) for row in rows))


def names_of(options: argparse.Namespace) -> list[str]:
    """Of all faults that would run without --only."""
    databases = set(options.databases.split(","))
    ends = [*ENDED.values(), PAIR] if options.kills else []
    return ends + [fault.name for fault in FAULTS if options.runs and databases & set(fault.databases)]


def kill(database: str, original: StoreSettings, options: argparse.Namespace) -> list[Row]:
    """The service itself."""

    times = {signal.SIGKILL: options.kills, signal.SIGTERM: max(1, options.kills // 5)}
    ends = [number for number, name in ENDED.items() if options.only in name]

    async def run(stores: StoreSettings) -> list[Row]:
        async with plain_site(stores) as site:
            return [told(await run_ends(database, site, number, times[number], options.seed)) for number in ends]

    if not options.kills or not ends:
        return []
    with copied_stores(original) as stores:
        return asyncio.run(run(stores))


def kill_one_of_two(database: str, original: StoreSettings, options: argparse.Namespace) -> list[Row]:
    """A fifth as often."""
    if not options.kills or options.only not in PAIR:
        return []
    with own_redis(original) as (stores, server):
        return [told(asyncio.run(run_pair(database, stores, server, max(1, options.kills // 5), options.seed)))]


def strike(database: str, original: StoreSettings, options: argparse.Namespace) -> list[Row]:
    """What the service needs."""
    faults = [fault for fault in FAULTS if database in fault.databases and options.only in fault.name]

    async def run(stores: StoreSettings, server: Valkey) -> list[Row]:
        async with proxied_site(stores, server) as site:
            return [told(await run_fault(fault, database, site, options.runs)) for fault in faults]

    if not faults or not options.runs:
        return []
    with own_redis(original) as (stores, server):
        return asyncio.run(run(stores, server))


@contextmanager
def own_redis(original: StoreSettings) -> Iterator[tuple[StoreSettings, Valkey]]:
    """A copy of stores whose Redis is a server of this run's own."""
    with (
        tempfile.TemporaryDirectory(prefix="itr") as folder,
        valkey(Path(folder) / "valkey") as server,
        copied_stores(original, server.url) as stores,
    ):
        yield stores, server


def told(row: Row) -> Row:
    """As soon as it is there."""
    print(line(row), flush=True)
    for wrong in shortcomings(row)[:20]:
        print(f"  wrong: {wrong}", flush=True)
    return row


def line(row: Row) -> str:
    """For people."""
    return (
        f"{row.fault}, {row.database}, {row.runs} times: {row.acknowledged:,} writes acknowledged, {row.lost} lost, "
        f"{row.duplicated} twice; {row.reads_answered:.1%} of reads answered, {row.degraded:.1%} of these degraded, "
        f"the slowest after {row.slowest_read_seconds:.2f} s; healed within {row.heal_seconds:.1f} s"
    )


def table(rows: list[Row]) -> str:
    """In Markdown."""
    head = ["Fault", "Database", "Times", "Acknowledged", "Lost", "Twice", "Reads answered", "Slowest", "Healed after"]
    cells = [
        [
            row.fault,
            row.database,
            str(row.runs),
            f"{row.acknowledged:,}",
            str(row.lost),
            str(row.duplicated),
            f"{row.reads_answered:.1%}",
            f"{row.slowest_read_seconds:.2f} s",
            f"{row.heal_seconds:.1f} s",
        ]
        for row in rows
    ]
    return "\n".join("| " + " | ".join(part) + " |" for part in [head, ["---"] * len(head), *cells])


if __name__ == "__main__":
    sys.exit(main())
