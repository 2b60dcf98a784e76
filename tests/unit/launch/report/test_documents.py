"""The table of document accuracies."""

import numpy as np

from launch.report.documents import document_table

SOFTMAX = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])


def test_a_row_for_each_model() -> None:
    table = document_table(["a.pdf#page=1", "a.pdf#page=2", "b.png"], np.array([0, 0, 1]), {"stack": SOFTMAX})
    assert table is not None
    assert table.row_count == 1
    assert [list(column.cells) for column in table.columns][:2] == [["stack"], ["100.00%"]]
    assert "2" in str(table.title)


def test_no_table_without_documents_of_several_pages() -> None:
    assert document_table(["a.pdf", "b.png", "c.png"], np.array([0, 0, 1]), {"stack": SOFTMAX}) is None
