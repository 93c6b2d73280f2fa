"""Ask the index's data of vulnerabilities about every package of constraints.txt, by pip-audit.

Exit code 1 for a known vulnerability. Where the data cannot be had, it says so in a line and exits with 0: a check that
needs the network is no test of this code.
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
    """A line for each known vulnerability, and how many packages nothing is known of."""
    lines, unknown = [], 0
    for each in report["dependencies"]:
        unknown += "skip_reason" in each
        for found in each.get("vulns", []):  # type: ignore[attr-defined]
            fixed = ", ".join(found["fix_versions"]) or "none yet"
            lines.append(f"audit: {each['name']} {each['version']}: {found['id']}; fixed in {fixed}")
    return lines, unknown


if __name__ == "__main__":
    main()
