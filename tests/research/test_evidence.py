"""Every command that the evidence scripts run is one that dptr still takes, with settings that it knows."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest
from helpers_docs import ROOT, check_recipe, parsed

from dptr.models.decoders import DECODERS

EVIDENCE = ROOT / "research" / "evidence"
SCRIPTS = ("jobs", "gain", "decoders", "languages")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(EVIDENCE))
    for name in SCRIPTS:
        sys.modules.pop(name, None)
    return {name: importlib.import_module(name) for name in SCRIPTS}


@pytest.mark.parametrize("recipes", ["evidence", "gpu/evidence"])
def test_every_job_loads_its_recipe(scripts: dict[str, ModuleType], recipes: str, tmp_path: Path) -> None:
    gain, decoders, languages = (scripts[name] for name in ("gain", "decoders", "languages"))
    common = {
        "glyph": "glyph-en", "pack": "runs/pack-en", "out": tmp_path, "times": 1.0,
        "recipes": ROOT / "research" / "recipes" / recipes,
        "direct_steps": 9, "joint_steps": 9, "rendered_steps": 9, "starts": gain.STARTS,
        "decoders": list(DECODERS), "crops": list(decoders.STEPS), "shares": True, "share_decoder": "parseq",
    }  # fmt: skip
    options = Namespace(**common)
    jobs = [*gain.starts(options, tmp_path), *gain.finetunes(options, tmp_path)]
    jobs += [*decoders.stage_one(options), *decoders.finetunes(options, tmp_path)]
    own = Namespace(out=tmp_path, steps=9, start="glyph-en", crops=9, photographs=tmp_path)
    jobs += languages.jobs(own, "de")
    assert {job.arguments[0] for job in jobs} >= {"align", "pretrain", "finetune", "bank", "synth", "eval"}
    for job in jobs:
        command, parameters = parsed([*job.arguments, "--out", str(tmp_path / job.name)])
        check_recipe(command, parameters, {}, tmp_path)


def test_the_table_of_decoders_names_kinds_with_a_hyphen(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = scripts["decoders"]
    monkeypatch.setattr(decoders, "open_checkpoint", lambda _: Namespace(tensors={}))
    (tmp_path / "gru-attention-text-500-read").write_text('{"results": [{"word_accuracy": 0.5}]}', encoding="utf-8")
    (tmp_path / "gru-attention-text-500-read.done").touch()
    table = decoders.table([Namespace(name="gru-attention-text-500")], tmp_path)
    assert table.endswith("| `gru-attention` | text | 500 | 0.00 M | 50.0 % |")
