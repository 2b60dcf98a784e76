"""The accuracy over documents of several pages, as a table."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.markup import escape
from rich.table import Table

from trainer.scoring.documents import document_figures


def document_table(ids: Sequence[str], labels: np.ndarray, outputs: Mapping[str, np.ndarray]) -> Table | None:
    """A row for each model of `outputs` (softmax [n, C] of the pages `ids`); None if no document has several pages."""
    rows = {name: document_figures(ids, labels, softmax) for name, softmax in outputs.items()}
    known = {name: figures for name, figures in rows.items() if figures is not None}
    if not known:
        return None
    one = next(iter(known.values()))
    title = f"documents: {one['count']}, of several pages {one['several_pages']}"
    if one["several_labels"]:
        title += f"; not counted: {one['several_labels']} whose pages have different classes"
    table = Table(title=title)
    for heading in ("model", "document accuracy", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, figures in known.items():
        interval = figures.get("accuracy_interval")
        table.add_row(
            escape(name),
            f"{figures['accuracy']:.2%}" if "accuracy" in figures else "–",
            f"{interval[0]:.1%} – {interval[1]:.1%}" if interval else "–",
        )
    return table
