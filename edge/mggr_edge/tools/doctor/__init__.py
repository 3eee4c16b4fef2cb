"""What this machine has, and the line that mends what is missing.

Every check looks at one thing and returns one `Check`, or None where it does not apply. Nothing is
installed, opened or changed, nobody is asked over a network, and a machine with nothing but numpy
and click can run it.
"""

from mggr_edge.tools.doctor.examination import CHECKS, examine
from mggr_edge.tools.doctor.machine import Check, Machine, State, is_able, report

__all__ = ["CHECKS", "Check", "Machine", "State", "examine", "is_able", "report"]
