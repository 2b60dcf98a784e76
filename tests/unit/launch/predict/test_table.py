"""The table for people: names whole without a terminal, silent beside large files."""

import numpy as np
import pytest

from launch.predict.table import FEW, ROWS, AnswerTable
from trainer.serving.answer import Place, answer_of, rejected

ROW = np.array([0.8, 0.2], np.float32)


def answers(count: int) -> list:
    name = "a-folder-with-a-long-name/" * 8
    return [
        answer_of(Place(f"{name}{number}[red].tif"), {"left": ROW, "stack": ROW}, ["letter", "memo"])
        for number in range(count)
    ]


def printed(capsys: pytest.CaptureFixture[str], count: int, *, only_few: bool) -> str:
    table = AnswerTable(["left"], only_few=only_few)
    table.add([*answers(count - 1), rejected(Place("b.tif", None), "empty file")])
    table.close()
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "only_few", "shown"), [(3, False, 3), (FEW, True, FEW), (FEW + 1, True, 0), (ROWS + 2, False, ROWS + 2)]
)
def test_every_answer_has_its_row(capsys: pytest.CaptureFixture[str], count: int, only_few: bool, shown: int) -> None:
    text = printed(capsys, count, only_few=only_few)
    assert text.count(".tif") == shown
    if shown:
        assert answers(1)[0].place.source in text
        assert "empty file" in text
