"""Has something become much slower? A few ratios within one run, with bounds that noise does not reach.

    python -m benchmarks.guard

For every change: a minute. Exit status 1 where a ratio is out of its bound. docs/performance.md has the figures
of a quiet machine; tests/integration/test_instructions.py counts what noise would hide here.
"""

import argparse
import sys

from benchmarks.read_path import beside_the_constant, in_turns
from benchmarks.results import Result, command, result, results_table
from benchmarks.site import Group, Site, made_site
from benchmarks.write_path import BACKBONE, posts_beside_the_bare_loop

COMMAND = command("guard")
USUAL = Group("usual", readers=50, followees=6, authors=60, tweets=167)
MANY = Group("many", readers=5, followees=60, authors=60, tweets=167)


def main() -> None:
    """Measure, print, and say whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of the rounds")
    seconds = parser.parse_args().seconds
    with made_site([USUAL, MANY], BACKBONE, MAX_CANDIDATES="10000") as site:
        results = ratios(site, seconds)
    print(results_table(results))
    if slow := [one.name for one in results if not one.met]:
        sys.exit(f"out of bounds: {', '.join(slow)}")


def ratios(site: Site, seconds: float) -> list[Result]:
    """Reading and posting."""
    usual = beside_the_constant(USUAL, site, 16, seconds)
    many = beside_the_constant(MANY, site, 16, seconds)
    loops = in_turns(USUAL, site, 16, seconds, "literal", USUAL.paths())
    posted = posts_beside_the_bare_loop(site, 8, seconds)
    named, more = f"{usual.candidates:,} candidates", f"{many.candidates:,} candidates"
    return [
        result(named, usual.share, "of constant", "a constant endpoint", COMMAND, (">=", 0.25)),
        result("plain loops", 1 / loops.share, "times as fast", "torch", COMMAND, (">=", 15.0)),
        result(more, usual.share / many.share, "times as long", named, COMMAND, ("<=", 6.0)),
        result("POST, 8 clients", posted, "of the bare loop", "ONNX Runtime at batch 8", COMMAND, (">=", 0.12)),
    ]


if __name__ == "__main__":
    main()
