"""What the page says in sentences: how its figures were made, what is missing, and what does not compare."""

from pathlib import Path

import pytest

from tests.made_runs import write_marker, write_run
from tests.report_pages import cells, lines, report, section
from training.report.notes import PROTOCOLS, backbone_note

COLD = "no tweet of the lists was retweeted in training, so that systems that know a tweet by its id alone can only "


@pytest.mark.parametrize("quick", [True, False])
def test_a_quick_run_says_so_under_the_title(tmp_path: Path, quick: bool) -> None:
    write_run(tmp_path / "runs")
    told = report(tmp_path / "runs", tmp_path / "report", quick=quick)
    warning = "This is a quick run: at most two epochs, one seed, not for comparing."
    assert (f'</h1><p class="warning">{warning}</p>' in told.html) is quick
    assert (told.markdown.splitlines()[2] == f"**{warning}**") is quick
    assert told.html.count(warning) == told.markdown.count(warning) == quick


def test_each_network_that_was_run_has_its_protocol(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", network="made", protocol="secondary")
    for network in ("lastfm", "flickr", "another"):
        write_run(tmp_path / "runs", network=network)
        told = report(tmp_path / "runs", tmp_path / network).markdown
        assert PROTOCOLS[network if network in PROTOCOLS else "flickr"] in told
        assert PROTOCOLS["made"] not in told
    assert told.count("Primary protocol, ") == 2
    assert "HetRec LastFM: a cut in time for each user" in told
    assert "one global cut" not in told
    write_run(tmp_path / "runs", network="made")
    assert PROTOCOLS["made"] in report(tmp_path / "runs", tmp_path / "made").markdown


def test_lists_of_tweets_that_nobody_retweeted_in_training_are_told_of(tmp_path: Path) -> None:
    for split, warm in ((60, True), (70, False), (80, False)):
        write_run(tmp_path / "runs", split=split, warm=warm)
    write_run(tmp_path / "runs", network="lastfm", warm=False)
    write_run(tmp_path / "runs", network="flickr")
    told = report(tmp_path / "runs", tmp_path / "report")
    assert f"Made network, 70 % and 80 % training: {COLD}" in section(told, "Made network, primary protocol")
    assert f"HetRec LastFM, 80 % training: {COLD}" in section(told, "Public networks")
    assert told.markdown.count(COLD) == told.html.count(COLD) == 2


def test_a_list_with_one_tweet_that_was_retweeted_is_not_cold(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", users=2)
    assert COLD not in report(tmp_path / "runs", tmp_path / "report").markdown


def test_what_cannot_run_on_a_network_is_not_said_to_be_missing(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_run(runs, network="flickr")
    for system in ("vbpr", "famf_visual", "permuted_words", "recency"):
        for seed in range(2):
            write_marker(runs, f"flickr-primary-80-{system}-s{seed}")
    write_marker(runs, "flickr-primary-80-rrfm-s0", diverged=True)
    write_marker(runs, "made-primary-80-citing-s0")
    write_marker(runs, "made-secondary-80-recency-s0")
    (runs / "notes.txt").write_text("no run's", "utf-8")
    told = report(runs, tmp_path / "report")
    not_run, not_for_it = section(told, "Public networks").split("Not run here: ")[1].split(" Not for this network: ")
    assert not_for_it.strip() == "Recency, VBPR, FAMF-visual, Permuted words, Words permuted in the test."
    assert {"RRFM", "CITING", "Permuted pictures"} < set(not_run.strip(".").split(", "))
    assert not {"Recency", "VBPR", "FAMF-visual"} & set(not_run.strip(".").split(", "))
    assert "Diverged and left out: flickr-primary-80-rrfm-s0." in told.markdown
    for words in ("Permuted words", "Words permuted in the test"):
        shown = cells(told, "What AMNL uses", f"AMNL less {words}", group="Flickr likes")
        assert set(shown.values()) == {"not for this network"}
    shown = cells(told, "What AMNL uses", "AMNL less Permuted pictures", group="Flickr likes")
    assert set(shown.values()) == {"not run"}
    table_1 = {line.label: set(line.cells.values()) for line in lines(told, "Table 1.")}
    assert (table_1["CITING"], table_1["Recency"]) == ({"not for this network"}, {"not run"})


def test_a_system_with_fewer_seeds_than_others_of_its_table_says_how_many(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for system, seeds_at in {"amnl": {60: 3, 80: 3}, "famf": {60: 1, 80: 3}, "vbpr": {80: 2}, "ease": {80: 1}}.items():
        for split, seeds in seeds_at.items():
            for seed in range(seeds):
                write_run(runs, system, split=split, seed=seed)
    for system in ("amnl", "famf"):
        write_run(runs, system, network="lastfm")
    told = report(runs, tmp_path / "report")
    beside = {line.label: line.beside for line in lines(told, "Table 1.") if line.beside}
    assert beside == {"AMNL": "d 64", "FAMF": "d 64, 1 to 3 seeds", "VBPR": "d 64, 2 seeds", "EASE": "1 seed"}
    assert {line.beside for line in lines(told, "HetRec LastFM, primary")} == {"d 64"}


@pytest.mark.parametrize(
    ("seeds_wide", "beside", "caption"),
    [
        (1, "d 128, 1 seed", "mean of 1 to 3 seeds; the values say which are of fewer."),
        (3, "d 128", "mean of 3 seeds."),
    ],
)
def test_figure_3_says_of_how_many_seeds_it_is(tmp_path: Path, seeds_wide: int, beside: str, caption: str) -> None:
    for dim, seeds in ((64, 3), (128, seeds_wide)):
        for seed in range(seeds):
            write_run(tmp_path / "runs", dim=dim, seed=seed)
    told = report(tmp_path / "runs", tmp_path / "report")
    assert [line.beside for line in lines(told, "Figure 3 as a table")] == ["d 64", beside]
    assert f"Each point is the {caption}" in told.drawings["figure-3.svg"]


def test_the_glance_says_who_is_left_out(tmp_path: Path) -> None:
    told = section(report(tmp_path / "missing", tmp_path / "report"), "At a glance")
    assert "AMNL's parts, variants and placebos, systems that the project does not know, and ceilings" in told


def test_seeds_with_other_settings_are_told_of(tmp_path: Path) -> None:
    for seed, rate in enumerate((0.1, 0.2)):
        write_run(tmp_path / "runs", seed=seed, settings={"learning_rate": rate})
    assert "AMNL, made, 80 %, d 64: learning_rate" in report(tmp_path / "runs", tmp_path / "report").html


@pytest.mark.parametrize(
    ("backbones", "note"),
    [
        (set(), ""),
        ({"vgg16"}, ""),
        (
            {"efficientnet_lite0"},
            "VGG16 was not used: EfficientNet-Lite0's features made these figures.",
        ),
        (
            {"vgg16", "efficientnet_lite0"},
            "Some runs have VGG16's features, others those of EfficientNet-Lite0: they do not compare.",
        ),
    ],
)
def test_the_backbone_is_told_where_it_is_not_the_papers(backbones: set[str], note: str) -> None:
    assert backbone_note(backbones) == note
