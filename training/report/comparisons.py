"""AMNL against others: the strongest of them, its own parts, its placebos, the paper's figures."""

from training.report.evidence import Evidence, best_facet, find, strongest
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
    Cell,
    Line,
    Table,
    absent,
    all_metrics,
    estimated,
    number,
    system_table,
)
from training.results import Row

_DIFFERENCE = ["Difference", *(LABELS[metric] for metric in COMPARED)]


def glance(evidence: Evidence) -> Table:
    """Both kinds of AMNL against whoever is strongest beside them and the better facet alone, on every network."""
    columns = ["Metric", "AMNL", "Strongest other", "AMNL less that other", "Best single facet", "AMNL less that facet"]
    groups = []
    for network in evidence.networks():
        rows = evidence.main(network, split=80)
        ours = [row for row in (find(rows, "amnl product"), find(rows, "amnl")) if row]
        for row in ours:
            lines = [_against_the_best(evidence, row, rows, metric) for metric in COMPARED]
            groups.append((f"{name_of(network)}: {placed(row.key.system).label}", lines))
        if not ours:
            groups.append((name_of(network), [Line("AMNL", "", [absent() for _ in columns[1:]])]))
    return Table(
        "AMNL against the strongest other system and its own best facet, 80 % training",
        columns,
        groups,
        "Others are the systems without training, the paper's baselines and today's anchors; AMNL's parts, variants "
        "and placebos, systems that the project does not know, and ceilings are left out. The single facets, personal "
        "or social alone, are of AMNL as this project trains it. The strongest and the best are picked by the test "
        "metric itself, which favours them. A difference is over the same users; one whose interval holds 0 shows "
        "nothing.",
    )


def ablations(evidence: Evidence) -> list[Table]:
    """Table 4, what the halves add to each other, and AMNL's variants and placebos."""
    rows, unfit = evidence.main("made", split=80), evidence.unfit("made")
    families = [row for row in rows if group_of(row) in (PAPER_AMNL, AMNL)]
    caption = "Table 4. AMNL, pictures alone (AMNL_i), texts alone (AMNL_d); made network, 80 % training"
    lines = [
        _less(evidence, rows, whole, half, unfit)
        for *halves, whole in (PAPER_AMNL.systems, AMNL.systems)
        for half in halves
    ]
    worth = Table("What the other half adds, over the same users", _DIFFERENCE, [("", lines)])
    explained = [row for row in rows if plain(row.key.system) == "amnl" or group_of(row) in (VARIANTS, PLACEBOS)]
    caption_of_variants = "AMNL, its variants and its placebos; made network, 80 % training"
    return [
        system_table(caption, all_metrics(), families, (PAPER_AMNL, AMNL), unfit=unfit),
        worth,
        system_table(caption_of_variants, all_metrics(), explained, (VARIANTS, PLACEBOS), unfit=unfit),
    ]


def what_amnl_uses(evidence: Evidence) -> Table:
    """What AMNL loses with each placebo and without its social facet, and what of that facet's gain placebos leave."""
    personal = "personal only"
    pairs = [("amnl", placebo) for placebo in PLACEBOS.systems] + [("amnl", personal), ("rewired follows", personal)]
    groups = []
    for network in evidence.networks():
        rows = evidence.main(network, split=80)
        unfit = evidence.unfit(network)
        groups.append((name_of(network), [_less(evidence, rows, a, b, unfit) for a, b in pairs]))
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


def _less(evidence: Evidence, rows: list[Row], a: str, b: str, unfit: set[str]) -> Line:
    label, first, second = f"{placed(a).label} less {placed(b).label}", find(rows, a), find(rows, b)
    if first and second:
        return Line(label, "", [estimated(evidence.difference(first, second, metric)) for metric in COMPARED])
    return Line(label, "", [absent(unfit.isdisjoint((a, b))) for _ in COMPARED])


def _against_the_best(evidence: Evidence, ours: Row, rows: list[Row], metric: str) -> Line:
    cells = [estimated(ours.of[metric])]
    for other in (strongest(rows, metric), best_facet(rows, metric)):
        less = evidence.difference(ours, other, metric) if other else None
        cells += [_named(other, metric), estimated(less)]
    return Line(LABELS[metric], "", cells)


def _named(row: Row | None, metric: str) -> Cell:
    return Cell(number(row.of[metric].mean), placed(row.key.system).label) if row else estimated(None)
