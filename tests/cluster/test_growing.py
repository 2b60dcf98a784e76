"""A cluster that adds hosts when it is asked for slots: everything is asked for before anything is placed."""

import json
from pathlib import Path

from tests.cluster.rack import ROOT, SHARED, Rack, install_tools


def test_all_slots_are_asked_for_at_once_and_given_back(tmp_path: Path) -> None:
    """Two jobs of two GPUs on a cluster that begins with none; its scaler and Ray run in a host of their own."""
    install_tools()
    rack = Rack(tmp_path / "rack", ("alone",))
    try:
        (rack.shared / "meeting").mkdir()
        program = ["env", f"--chdir={ROOT}", "python", "-m", "tests.cluster.growing", f"{SHARED}/meeting"]
        output = rack.run("alone", program, PYTHONPATH=str(ROOT))
    finally:
        rack.close()
    found = json.loads(output.splitlines()[-1])
    assert found["slots"] == [0, 2, 2], "the head's core is no slot; both hosts were there before a job was placed"
    assert found["states"] == {"one": ["done", None], "other": ["done", None]}, "they met: all four ran at once"
    assert found["groups"] == {"one": [2], "other": [2]}, "each on one host"
    assert found["left"] == 1, "nothing is asked for any more, so the idle hosts went"
