"""What runs on one host needs neither Ray nor Horovod, and no TensorFlow before it trains."""

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import sys
for name in ("ray", "horovod"):
    sys.modules[name] = None  # importing it raises ImportError
from launch.cli import main
if __name__ == "__main__":
    status = main(sys.argv[1:])
    print({"tensorflow", "keras"} & set(sys.modules))
    sys.exit(status)
"""


def test_one_host_surveys_and_converts_without_ray_horovod_or_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WITHOUT)
    pages = tmp_path / "pages"
    labels = [f"data.{split}={pages}/labels/{split}.txt" for split in ("train", "val", "test")]
    places = [f"data.root={pages}", f"data.class_names={pages}/classes.txt", f"shards.folder={tmp_path / 'shards'}"]
    config = ["--config", "demo", *(part for setting in (*labels, *places) for part in ("--set", setting))]
    for arguments in (
        ["draw", "--out", str(pages), "--train", "2", "--val", "1", "--test", "1"],
        ["survey", *config, "--out", str(tmp_path / "survey")],
        ["convert", *config],
    ):
        command = [sys.executable, str(tmp_path / "program.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "set()", arguments[0]
