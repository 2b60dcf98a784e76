"""From the models' outputs to answers: calibrated, decided, one for each page and one for each document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.decision import Judged, Policy, judge
from trainer.scoring.documents import combined
from trainer.serving.answer import Answer, Place, answer_of, rejected
from trainer.serving.classify import FileOutputs
from trainer.serving.decode import is_document

Softmax = NDArray[np.float32]


@dataclass(frozen=True)
class Judgement:
    """What turns outputs into answers. names: of the classes, distinct; policy: the run's, None without one."""

    names: Sequence[str]
    policy: Policy | None

    def answers(self, source: str, file: FileOutputs) -> Iterator[Answer]:
        """The answers about a file: its pages in order, then the document if it is one."""
        if file.error is not None:
            yield rejected(Place(source, None), file.error)
            return
        judged = judge(self.policy, file.outputs, contrast=file.contrast or None) if file.outputs else None
        row = 0
        for number, error in file.pages:
            place = Place(source, number)
            if error is not None or judged is None:
                yield rejected(place, error or "")
                continue
            yield self._answer(place, judged, row)
            row += 1
        if is_document(source, file.of):
            yield self._document(Place(source, None), file)

    def _answer(self, place: Place, judged: Judged, row: int) -> Answer:
        outputs = {name: softmax[row] for name, softmax in judged.probabilities.items()}
        return answer_of(place, outputs, self.names, decision=judged.decisions[row])

    def _document(self, place: Place, file: FileOutputs) -> Answer:
        if not file.outputs:
            return rejected(place, "none of its pages can be read")
        # A document is blank if each of its pages is.
        contrast = [max(file.contrast)] if file.contrast else None
        return self._answer(place, judge(self.policy, document_outputs(file.outputs), contrast=contrast), 0)


def document_outputs(pages: Mapping[str, Softmax]) -> dict[str, Softmax]:
    """Softmax [1, classes] by model for a document, as the report combines its pages."""
    return {name: combined(softmax)[np.newaxis].astype(np.float32) for name, softmax in pages.items()}
