"""Check all packages of constraints.txt for known vulnerabilities with pip-audit, which asks the package index.

The exit code is 1 if there is a known vulnerability. If the index does not answer, the script prints a line and exits
with 0, because a check that depends on the network is no test of this code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
SECONDS = 60


def main() -> None:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS)]
    try:
        done = subprocess.run(
            [*command, "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"audit: skipped, no answer within {SECONDS} s")
        return
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["pip-audit says nothing"])[-1]
        print(f"audit: skipped ({last[:200]})")
        return
    lines, unknown = summarize(report)
    if unknown:
        print(f"audit: {unknown} of {len(report['dependencies'])} packages skipped, the index has no data of them")
    if lines:
        sys.exit("\n".join(lines))


def summarize(report: dict[str, list[dict[str, object]]]) -> tuple[list[str], int]:
    """A line for each known vulnerability, and the number of packages that the index has no data about."""
    lines, unknown = [], 0
    for each in report["dependencies"]:
        unknown += "skip_reason" in each
        for vulnerability in each.get("vulns", []):  # type: ignore[attr-defined]
            fixed = ", ".join(vulnerability["fix_versions"]) or "none yet"
            lines.append(f"audit: {each['name']} {each['version']}: {vulnerability['id']}; fixed in {fixed}")
    return lines, unknown


if __name__ == "__main__":
    main()
