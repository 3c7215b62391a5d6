"""AMNL against others: the strongest of them, its own halves, its placebos, the paper's figures."""

from training.report.evidence import Evidence, find, strongest
from training.report.lineup import (
    AMNL,
    BASELINES,
    PAPER,
    PAPER_AMNL,
    PLACEBOS,
    VARIANTS,
    group_of,
    name_of,
    placed,
    plain,
)
from training.report.tables import (
    COMPARED,
    LABELS,
    NOT_RUN,
    Cell,
    Line,
    Table,
    all_metrics,
    estimated,
    number,
    system_table,
)
from training.results import Row

_DIFFERENCE = ["Difference", *(LABELS[metric] for metric in COMPARED)]


def glance(evidence: Evidence) -> Table:
    """Both kinds of AMNL against whoever is strongest beside them, on every network."""
    groups = []
    for network in evidence.networks():
        rows = evidence.main(network, split=80)
        ours = [row for row in (find(rows, "amnl product"), find(rows, "amnl")) if row]
        for row in ours:
            lines = [_against_the_strongest(evidence, row, rows, metric) for metric in COMPARED]
            groups.append((f"{name_of(network)}: {placed(row.key.system).label}", lines))
        if not ours:
            groups.append((name_of(network), [Line("AMNL", "", [Cell(NOT_RUN, muted=True) for _ in range(3)])]))
    return Table(
        "AMNL against the strongest other system at 80 % training",
        ["Metric", "AMNL", "Strongest other", "Difference"],
        groups,
        "The strongest other is picked by the test metric itself, which favours it. A difference is over the same "
        "users; one whose interval holds 0 shows nothing.",
    )


def ablations(evidence: Evidence) -> list[Table]:
    """Table 4, what the halves add to each other, and AMNL's variants and placebos."""
    rows = evidence.main("made", split=80)
    families = [row for row in rows if group_of(row) in (PAPER_AMNL, AMNL)]
    caption = "Table 4. AMNL, pictures alone (AMNL_i), texts alone (AMNL_d); made network, 80 % training"
    lines = []
    for family in (PAPER_AMNL, AMNL):
        *halves, whole = (find(rows, system) for system in family.systems)
        *labels, of_whole = family.systems.values()
        for half, label in zip(halves, labels, strict=True):
            lines.append(_less(evidence, f"{of_whole} less {label}", whole, half))
    worth = Table("What the other half adds, over the same users", _DIFFERENCE, [("", lines)])
    explained = [row for row in rows if plain(row.key.system) == "amnl" or group_of(row) in (VARIANTS, PLACEBOS)]
    caption_of_variants = "AMNL, its variants and its placebos; made network, 80 % training"
    return [
        system_table(caption, all_metrics(), families, (PAPER_AMNL, AMNL)),
        worth,
        system_table(caption_of_variants, all_metrics(), explained, (VARIANTS, PLACEBOS)),
    ]


def what_amnl_uses(evidence: Evidence) -> Table:
    """What AMNL loses with each placebo and without its social facet, and what of that facet's gain placebos leave."""
    personal = "personal only"
    pairs = [("amnl", placebo) for placebo in PLACEBOS.systems] + [("amnl", personal), ("rewired follows", personal)]
    groups = []
    for network in evidence.networks():
        rows = evidence.main(network, split=80)
        lines = [
            _less(evidence, f"{placed(a).label} less {placed(b).label}", find(rows, a), find(rows, b)) for a, b in pairs
        ]
        groups.append((name_of(network), lines))
    return Table(
        "What AMNL uses: differences over the same users, 80 % training",
        _DIFFERENCE,
        groups,
        "A placebo is AMNL trained and judged on the same lists with tweets that show one another's pictures or words, "
        "or with chance saying who follows whom (everyone keeps the number of followees and of followers). What AMNL "
        "has above a placebo it has from what was mixed; what rewired follows have above the personal facet alone "
        "any followees would have given. Mixed in the test alone, after training on the true network, it shows what "
        "the trained model relies on, which another input might have told it too.",
    )


def beside_the_paper(evidence: Evidence) -> Table:
    """The paper's figures, said to be of other data at every place."""
    rows = evidence.main("made", split=80)
    baselines = [row for row in rows if group_of(row) is BASELINES]
    groups = []
    for name, figures in PAPER.items():
        lines = [Line("Paper, its own data", "", [Cell(number(figures[metric]), muted=True) for metric in COMPARED])]
        if name == "Best baseline":
            best = [strongest(baselines, metric) for metric in COMPARED]
            cells = [_named(row, metric) for row, metric in zip(best, COMPARED, strict=True)]
            lines.append(Line("Made network", "", cells))
        else:
            for system, how in ((f"{plain(name)} product", "product link"), (plain(name), "as trained here")):
                row = find(rows, system)
                cells = [estimated(row.of[metric] if row else None) for metric in COMPARED]
                lines.append(Line("Made network", how, cells))
        groups.append((name, lines))
    return Table(
        "The paper's own figures beside ours at 80 % training: another data set",
        ["Whose", *(LABELS[metric] for metric in COMPARED)],
        groups,
        "The paper's data was never released and ours are of the made network: the order of the systems can be set "
        "side by side, the values cannot.",
    )


def _less(evidence: Evidence, label: str, a: Row | None, b: Row | None) -> Line:
    both = None if a is None or b is None else (a, b)
    return Line(label, "", [estimated(evidence.difference(*both, metric) if both else None) for metric in COMPARED])


def _against_the_strongest(evidence: Evidence, ours: Row, rows: list[Row], metric: str) -> Line:
    cells = [estimated(ours.of[metric])]
    other = strongest(rows, metric)
    if other is None:
        cells += [Cell(NOT_RUN, muted=True), Cell(NOT_RUN, muted=True)]
    else:
        cells += [_named(other, metric), estimated(evidence.difference(ours, other, metric))]
    return Line(LABELS[metric], "", cells)


def _named(row: Row | None, metric: str) -> Cell:
    return Cell(number(row.of[metric].mean), placed(row.key.system).label) if row else estimated(None)
