"""python -m tests.soak: mixed load for 20 minutes, and whether memory, descriptors and Redis are flat in the end.

Exit status 1 where one is not, where an answer was one that nothing excuses, or where clients never had all of theirs.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

from contract.environment import StoreSettings
from tests.chaos.runs import KINDS, trained
from tests.chaos.site import Service, Valkey, running, valkey
from tests.conftest import copied_stores
from tests.soak.load import Clients
from tests.soak.verdict import FEWEST, FLAT, Sample, lines_of
from training.progress import terminal

EVERY_SECONDS = 5.0
HELD_MB = 1
"""What the service may hold in memory: little, so that the bound is reached."""


def main() -> int:
    """Run, print the lines, write the samples and the plot."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--database", choices=KINDS, default="postgres")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a folder for soak.json and soak.svg")
    options = parser.parse_args()
    if turns_of(options) < FEWEST:
        parser.error(f"--minutes {options.minutes:g} is too short: give at least {FEWEST * EVERY_SECONDS / 60:g}")
    with (
        tempfile.TemporaryDirectory(prefix="itr") as folder,
        trained([options.database]) as originals,
        valkey(Path(folder) / "valkey") as server,
        copied_stores(originals[options.database], server.url) as stores,
    ):
        samples, failed, statuses = asyncio.run(soak(stores, server, options))
    lines = lines_of(samples)
    print(f"\n{'':28} {'before':>10} {'last':>10} {'growth':>12} {'at most':>12}")
    print("\n".join(map(str, lines)))
    requests = sum(statuses.values())
    print(f"{requests:,} requests in {options.minutes:g} minutes, by status: {dict(sorted(statuses.items()))}")
    print(f"p99 {samples[len(samples) // 3].p99_ms:.0f} ms after a third, {samples[-1].p99_ms:.0f} ms in the end")
    for wrong in failed[:20]:
        print(f"wrong: {wrong}")
    if options.out is not None:
        write(options.out, samples)
    return int(bool(failed) or any(line.grows for line in lines))


async def soak(
    stores: StoreSettings, server: Valkey, options: argparse.Namespace
) -> tuple[list[Sample], list[str], dict[int, int]]:
    """Samples, what was wrong, and how many answers there were by status."""
    samples: list[Sample] = []
    failed: list[str] = []
    statuses: dict[int, int] = {}
    started = time.monotonic()
    service = Service(stores, stores.var_dir / "service.log", stores.var_dir)
    service.environment["HELD_MB"] = str(HELD_MB)
    async with running(service):
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        clients = Clients(service.url, options.seed)
        load = asyncio.create_task(clients.run(60 * options.minutes))
        turns = turns_of(options)
        for turn in terminal(range(turns), turns, f"soak (turns of {EVERY_SECONDS:g} s)"):
            await asyncio.sleep(max(0.0, started + (turn + 1) * EVERY_SECONDS - time.monotonic()))
            came, clients.came = clients.came, type(clients.came)()
            failed += came.failed
            for status, count in came.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
            metrics = await metrics_of(service)
            samples.append(sample(time.monotonic() - started, process, metrics, server, came.seconds))
            if load.done():
                break
        await load
    return samples, failed + clients.not_full(), statuses


def turns_of(options: argparse.Namespace) -> int:
    """How many samples there will be."""
    minutes: float = options.minutes
    return round(60 * minutes / EVERY_SECONDS)


async def metrics_of(service: Service) -> dict[str, float]:
    """Those without labels."""
    async with httpx.AsyncClient(base_url=service.url) as client:
        text = (await client.get("/metrics", timeout=30)).raise_for_status().text
    read = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {one.name: one.value for one in read if not one.labels}


def sample(
    seconds: float, process: psutil.Process, metrics: dict[str, float], server: Valkey, latencies: Sequence[float]
) -> Sample:
    """As it is now."""
    with server.client() as redis:
        memory = redis.info("memory")["used_memory"]
        keys = redis.dbsize()
    p50, p99 = (1_000 * float(np.quantile(latencies or [0.0], q)) for q in (0.5, 0.99))
    return Sample(
        seconds=round(seconds, 1),
        memory_mb=process.memory_info().rss / 1e6,
        heap_mb=metrics["heap_in_use_bytes"] / 1e6,
        python_blocks=metrics["python_blocks"],
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        redis_keys=keys,
        redis_mb=memory / 1e6,
        requests=len(latencies),
        p50_ms=round(p50, 2),
        p99_ms=round(p99, 2),
    )


def write(out: Path, samples: Sequence[Sample]) -> None:
    """Samples and plot."""
    import matplotlib.pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps([asdict(one) for one in samples]) + "\n", "utf-8")
    figure, axes = plt.subplots(len(FLAT) + 1, 1, figsize=(8, 13), sharex=True, layout="constrained")
    minutes = [one.seconds / 60 for one in samples]
    for axis, (name, bound) in zip(axes, FLAT.items(), strict=False):
        axis.plot(minutes, [getattr(one, name) for one in samples])
        axis.set_title(bound.label, loc="left", fontsize=9)
        axis.margins(y=0.2)
        axis.set_ylim(bottom=0)
    axes[-1].plot(minutes, [one.p50_ms for one in samples], label="median")
    axes[-1].plot(minutes, [one.p99_ms for one in samples], label="p99")
    axes[-1].set_title("time of a request, ms", loc="left", fontsize=9)
    axes[-1].set_ylim(bottom=0)
    axes[-1].legend(fontsize=8)
    axes[-1].set_xlabel("minutes")
    figure.savefig(out / "soak.svg", metadata={"Date": None})
    print(f"wrote {out / 'soak.json'} and {out / 'soak.svg'}")


if __name__ == "__main__":
    sys.exit(main())
