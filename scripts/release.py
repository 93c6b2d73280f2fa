"""Build the distributions of a release, check them, and read with the wheel in a bare environment.

    python scripts/release.py            # into dist; needs Python 3.11 or later and a package index, nothing installed

The script writes the sdist and wheel of ``dptr``, of ``dptr-weights``, and of each distribution in recognizers/. It
writes the contents of the installs to dist/sbom as CycloneDX JSON, prints the sizes of the installs, and uploads
nothing. It fails if a distribution contains an unexpected file, ``twine check --strict`` complains, the base install
is not as expected, or the wheel does not read a crop and a photograph.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib.metadata import distributions
from pathlib import Path

from sbom import write_bill

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = ["--constraint", str(ROOT / "constraints.txt")]
CROP, WORD = ROOT / "tests" / "golden" / "crops" / "clean.png", "Market"
PHOTOGRAPH, LINES = ROOT / "tests" / "golden" / "photograph.jpg", ["Fresh bread", "open daily", "from nine"]
EXTRAS = ("train", "export", "clip", "import", "pdf", "serve", "shards", "ray")
"""The extras for users; the other extras are for developers."""
PACKAGES = 12  # largest number of packages in the base install, including dptr
RELEASED = ("dptr-*.tar.gz", "dptr_*-*.tar.gz", "dptr*-py3-none-any.whl", "sbom/*.cdx.json")
METADATA = ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")
ALLOWED = {  # what may be in each wheel, below its package or its metadata
    "dptr": (
        "*.py", "py.typed",
        "weights/*/model.onnx", "weights/*/ngrams.npz", "weights/*/config.json", "weights/*/card.json",
        "weights/*/README.md", "weights/recognizers.json",
        "synth/embedded/*.ttf", "synth/embedded/*.LICENSE", "synth/embedded/FONTS.md",
        "serve/page/*.html", "serve/page/*.css", "serve/page/*.js", "serve/page/*.svg",
        "browser/page/*.html", "browser/page/*.css", "browser/page/*.js",
        "inference/scripts.onnx", "photo/detector.onnx", "photo/detector.txt",
        "photo/spaces.onnx", "photo/outputs/blank.ttf", "text/languages/*.toml",
        "entry_points.txt", "licenses/docs/licenses.md", *METADATA,
    ),
    "dptr_weights": ("__init__.py", "*/*.safetensors", "glyph-en/config.json", "glyph-en/card.json", *METADATA),
}  # fmt: skip
RECOGNIZERS = sorted(path.parent for path in (ROOT / "recognizers").glob("*/pyproject.toml"))
RECOGNIZER = (
    "__init__.py", "model.onnx", "ngrams.npz", "card.json", "README.md", "sheet.png", "entry_points.txt", *METADATA
)  # fmt: skip
SDIST = {  # and in each sdist, beside the package
    "dptr": ("recipes/*.toml", "docs/licenses.md", "CHANGELOG.md"),
    "dptr_weights": (),
}
SDIST_BOTH = ("pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="a folder; an earlier release in it is removed")
    parser.add_argument("--base-only", action="store_true", help="no bill of materials of the extras: torch stays away")
    options = parser.parse_args()
    out = options.out.resolve()
    remove_release(out)
    with tempfile.TemporaryDirectory(prefix="dptr-release-") as scratch:
        venv.create(Path(scratch) / "tools", with_pip=True)
        tools = programs_of(Path(scratch) / "tools")
        install(tools, tools, *PROJECT["optional-dependencies"]["release"])
        built = [build(tools, folder, out) for folder in (ROOT, ROOT / "weights", *RECOGNIZERS)]
        run(tools / "python", "-m", "twine", "check", "--strict", *(str(file) for files in built for file in files))
        for name, files in zip(ALLOWED, built, strict=False):
            check_files(name, *files, ALLOWED[name], SDIST[name])
        for folder, files in zip(RECOGNIZERS, built[len(ALLOWED) :], strict=True):
            check_files(f"dptr_{folder.name.replace('-', '_')}", *files, RECOGNIZER)
        wheel, weights = (str(wheel) for _, wheel in built[: len(ALLOWED)])
        check_reading(tools, Path(scratch) / "base", wheel, out / "sbom" / "dptr.cdx.json")
        check_recognizers(tools, Path(scratch) / "base", wheel, out)
        if not options.base_only:
            whole = make_environment(Path(scratch) / "whole")
            measure(whole, install(tools, whole, f"{wheel}[train]", weights), "with train")
            install(tools, whole, f"{wheel}[{','.join(EXTRAS)}]")
            write_bill(tools, whole / "python", out / "sbom" / f"dptr-{'-'.join(EXTRAS)}.cdx.json")
    print(f"\n{out}")
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        print(f"{file.stat().st_size / 1e6:8.2f} MB  {file.relative_to(out)}")


def remove_release(out: Path) -> None:
    """Delete an earlier release; end the program if the folder contains anything else."""
    files = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    others = [name for name in files if not any(fnmatch(name, pattern) for pattern in RELEASED)]
    if others:
        sys.exit(f"release: {out} holds more than a release: {', '.join(sorted(others)[:3])}; pass another --out")
    if out.is_dir():
        shutil.rmtree(out)


def make_environment(folder: Path) -> Path:
    """Create a virtual environment without packages. Returns the folder of its programs."""
    venv.create(folder)
    return programs_of(folder)


def programs_of(folder: Path) -> Path:
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def install(tools: Path, programs: Path, *packages: str) -> float:
    """Install packages into an environment, which needs no pip of its own. Returns the time in seconds."""
    begun = time.monotonic()
    pip = ("-m", "pip", "--python", str(programs / "python"))
    run(tools / "python", *pip, "install", "--quiet", *CONSTRAINTS, *packages)
    return time.monotonic() - begun


def run(program: Path, *arguments: str, environment: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Print a command and run it; end this program if it fails. Returns the standard output."""
    print(f"$ {program.name} {' '.join(arguments)}", flush=True)
    done = subprocess.run([str(program), *arguments], stdout=subprocess.PIPE, text=True, env=environment, cwd=cwd)
    if done.returncode:
        sys.exit(f"release: {program.name} ended with code {done.returncode}\n{done.stdout}")
    return done.stdout


def build(tools: Path, folder: Path, out: Path) -> tuple[Path, Path]:
    """Build the sdist of a project, and the wheel from that sdist."""
    before = set(out.glob("*"))
    run(tools / "python", "-m", "build", "--outdir", str(out), str(folder))
    made = set(out.glob("*")) - before
    return next(file for file in made if file.suffix == ".gz"), next(file for file in made if file.suffix == ".whl")


def check_files(name: str, sdist: Path, wheel: Path, inside: Sequence[str], beside: Sequence[str] = ()) -> None:
    """End the program if ``wheel`` has a file outside ``inside``, or ``sdist`` one that neither of the two allows."""
    with zipfile.ZipFile(wheel) as packed:
        files = [entry.partition("/")[2] for entry in packed.namelist()]
    refuse(wheel, [file for file in files if not matches(file, inside)])
    with tarfile.open(sdist) as unpacked:
        files = [entry.name.partition("/")[2] for entry in unpacked.getmembers() if entry.isfile()]
    beside = (*SDIST_BOTH, *beside)
    package = f"{name}/"
    refuse(
        sdist,
        [
            file
            for file in files
            if not matches(file, beside) and not (file.startswith(package) and matches(file[len(package) :], inside))
        ],
    )


def matches(file: str, patterns: Sequence[str]) -> bool:
    return not file.endswith(".pyc") and any(fnmatch(file, pattern) for pattern in patterns)


def refuse(where: Path, files: list[str]) -> None:
    if files:
        sys.exit(f"release: {where.name} holds what may not be released: {', '.join(files[:5])} ({len(files)} in all)")


def check_reading(tools: Path, folder: Path, wheel: str, bill: Path) -> None:
    """Install only the wheel, read a crop and a photograph, and write the bill of materials.

    Neither this checkout nor this home is in sight while it reads.
    """
    programs = make_environment(folder)
    seconds = install(tools, programs, wheel)
    read = run_bare(programs, "read", str(CROP))
    if read.split("\t")[1:2] != [WORD]:
        sys.exit(f"release: the wheel reads {read!r} where {CROP.name} shows '{WORD}'")
    read = run_bare(programs, "ocr", str(PHOTOGRAPH))
    if read.splitlines() != LINES:
        sys.exit(f"release: the wheel reads {read!r} where {PHOTOGRAPH.name} shows {LINES}")
    packages = measure(programs, seconds, "base install")
    if len(packages) > PACKAGES:
        sys.exit(f"release: the base install is {len(packages)} packages; {PACKAGES} are allowed")
    write_bill(tools, programs / "python", bill)


def check_recognizers(tools: Path, folder: Path, wheel: str, out: Path) -> None:
    """Install each recognizer through its extra, only from ``out``, into the environment of ``folder``; read a crop."""
    programs = programs_of(folder)
    for name in (each.name for each in RECOGNIZERS):
        install(tools, programs, "--no-index", "--find-links", str(out), f"{wheel}[{name}]")
        if not run_bare(programs, "models", name).startswith(f"# {name}"):
            sys.exit(f"release: dptr-{name} is not found where it is installed")
        run_bare(programs, "read", "--model", name, str(CROP))


def run_bare(programs: Path, *arguments: str) -> str:
    """The output of ``dptr`` with an empty home folder and only the necessary environment variables."""
    home = programs.parent / "home"
    home.mkdir(exist_ok=True)
    required = {key: os.environ[key] for key in ("SYSTEMROOT",) if key in os.environ}  # Windows needs it for programs
    return run(
        programs / "dptr", *arguments, environment={"HOME": str(home), "PATH": str(programs), **required}, cwd=home
    )


def measure(programs: Path, seconds: float, name: str) -> list[str]:
    """Print the size of the packages of an environment, and return their names."""
    folder = programs.parent
    site = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    packages = sorted(each.name for each in distributions(path=[str(site)]))
    sizes = [(path.suffix == ".pyc", path.stat().st_size) for path in site.rglob("*") if path.is_file()]
    whole = sum(size for _, size in sizes) / 1e6
    compiled = sum(size for is_compiled, size in sizes if is_compiled) / 1e6
    print(f"{name}: {whole:.0f} MB, {compiled:.0f} of them bytecode, in {seconds:.0f} s")
    print(f"{len(packages)} packages: {' '.join(packages)}")
    return packages


if __name__ == "__main__":
    main()
