"""What Helm makes of the chart, kept beside the tests so that they need no Helm.

    python -m tests.unit.deploy.helm

renders the chart with each of its `ci/*-values.yaml` into `rendered/`; it needs `helm`. A digest of
the chart heads each file: a test notices when the chart has changed and these have not.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "activator"
RENDERED = Path(__file__).with_name("rendered")
CASES = sorted(CHART.glob("ci/*-values.yaml"))
_RANDOM = re.compile(r"^  token: .+$", re.MULTILINE)


def rendered(values: Path) -> Path:
    return RENDERED / f"{values.name.removesuffix('-values.yaml')}.yaml"


def head() -> str:
    """The first line of what is rendered now."""
    digest = hashlib.sha256()
    for path in sorted(CHART.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(CHART)).encode() + path.read_bytes())
    return f"# rendered from {digest.hexdigest()}\n"


def render(values: Path) -> str:
    """Raises CalledProcessError with Helm's words on standard error."""
    command = ["helm", "template", "activator", str(CHART), "--namespace", "activator"]
    options = ["--kube-version", "1.36.0", "--values", str(values)]
    done = subprocess.run([*command, *options], capture_output=True, check=True, text=True)
    return head() + _RANDOM.sub("  token: cmFuZG9t", done.stdout)


if __name__ == "__main__":
    for one in CASES:
        rendered(one).write_text(render(one), encoding="utf-8")
