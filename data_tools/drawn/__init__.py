"""Drawn demo pages: the sixteen RVL-CDIP classes as layouts with variety and scan noise.

Classes often differ in one part of the page only: the head of a memo or a letter, the total of an invoice, a signature
or approvals at the foot, labels at the left, codes at the right. The page at a small size shows these poorly, a
region at the same size shows its own better, and no region shows all.
"""

from data_tools.drawn.classes import CLASS_NAMES
from data_tools.drawn.data_set import draw_data_set

__all__ = ["CLASS_NAMES", "draw_data_set"]
