"""The HTML page of `predict` as a form: bounded, however many answers there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from data_tools.documents.pixels import PageError, read_page
from data_tools.documents.regions import Box
from launch.predict.forms import Counts, Key
from launch.report.predictions_page import CARD, CARD_ALSO, PagePicture, card, page_end, page_head, picture_of
from trainer.serving.answer import Answer

FIRST = 200
MORE = 200
"""Cards of the first answers, and of later ones that a person should see."""


@dataclass
class HtmlForm:
    """A card for each of the first answers, then for those that are not accepted; other answers have an empty line.

    picture: of a page that is shown, or None where it has none.
    """

    run: str
    names: Sequence[str]
    boxes: Mapping[str, Box]
    picture: Callable[[Answer], PagePicture | None]
    kind: str = "html"
    end: str | None = "</div>"
    names_sources: bool = False
    _shown: int = 0
    _also: int = 0

    def head(self) -> str:
        """The page up to its cards."""
        return page_head(self.run, first=FIRST, more=MORE)

    def line(self, answer: Answer, row: int) -> str:
        """The card, or an empty line."""
        also = row >= FIRST
        if also and (self._also == MORE or (answer.error is None and answer.decision in (None, "accepted"))):
            return ""
        self._also += also
        self._shown += 1
        return card(answer, self.picture(answer), names=self.names, boxes=self.boxes, also=also)

    def tail(self, counts: Counts) -> str:
        """The counts of all answers."""
        return page_end(counts, shown=self._shown)

    def key(self, line: str) -> Key | None:
        """Nothing: an empty line says nothing of its answer.

        Raises:
            ValueError: the line is neither empty nor a card.
        """
        if line and not line.startswith((CARD, CARD_ALSO)):
            raise ValueError("no card")
        return None

    def resume(self, line: str) -> None:
        """Count the cards."""
        self._shown += bool(line)
        self._also += line.startswith(CARD_ALSO)


def picture_of_answer(answer: Answer, *, color: bool) -> PagePicture | None:
    """The picture of a page, decoded again: only a few are shown, and which ones follows from the answers."""
    if answer.error is not None or answer.place.page is None:
        return None
    try:
        return picture_of(read_page(answer.place.source, color=color, number=answer.place.page))
    except PageError:
        return None
