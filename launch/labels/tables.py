"""What `regionstack labels` prints: the estimate of each split, the pairs of classes, the first pages."""

from collections.abc import Sequence

from rich.table import Table

from launch.labels.ranking import RankedPage, RankingSummary

PAIRS = 8
"""Pairs of given and likely class that are shown."""


def split_table(summary: RankingSummary) -> Table:
    """One row a split: pages, suspects, and the estimated share of wrong labels."""
    table = Table(title=f"{summary['run']}: labels")
    for heading in ("split", "pages", "outputs", "suspects", "wrong (estimate)", "95 % interval"):
        table.add_column(heading, justify="left" if heading in ("split", "outputs") else "right")
    for split, one in summary.get("splits", {}).items():
        low, high = one["wrong_interval"]
        share = f"{one['wrong']:.1%}", f"{low:.1%} – {high:.1%}"
        table.add_row(split, str(one["pages"]), one["outputs"], str(one["suspects"]), *share)
    return table


def pair_table(summary: RankingSummary) -> Table | None:
    """The pairs of given and likely class with the most pages; None if no page is confidently of another class."""
    names = [str(entry["name"]) for entry in summary["classes"]]
    joint = summary.get("joint", [])
    pairs = [(count, i, j) for i, row in enumerate(joint) for j, count in enumerate(row) if i != j and count >= 0.5]
    if not pairs:
        return None
    table = Table(title="labels that belong to another class (estimate, all splits)")
    for heading in ("labelled", "likely", "pages"):
        table.add_column(heading, justify="right" if heading == "pages" else "left")
    for count, i, j in sorted(pairs, reverse=True)[:PAIRS]:
        table.add_row(names[i], names[j], f"{count:.0f}")
    return table


def page_table(summary: RankingSummary, pages: Sequence[RankedPage]) -> Table:
    """The first pages of a ranking."""
    names = {int(entry["id"]): str(entry["name"]) for entry in summary["classes"]}
    pool = summary["kind"] != "splits"
    table = Table(title="pages to label next" if pool else "most suspicious labels")
    for heading in ("rank", "score", *([] if pool else ["split", "labelled"]), "likely", "page"):
        table.add_column(heading, justify="right" if heading in ("rank", "score") else "left", overflow="fold")
    for page in pages:
        given = [] if page.label is None else [page.split, names[page.label]]
        table.add_row(str(page.rank), f"{page.score:.3f}", *given, names[page.likely], page.id)
    return table
