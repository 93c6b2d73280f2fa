from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_train import VALIDATION, Parts, make_parts

from dptr.training import adapt, align, pretrain, sources


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Parts:
    return make_parts(tmp_path_factory.mktemp("parts"), font_folder)


@pytest.fixture(autouse=True, scope="module")
def _short_validation() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (adapt, "RENDERED_VALIDATION"),
            (align, "RENDERED_VALIDATION"),
            (sources, "RENDERED_VALIDATION"),
            (pretrain, "VALIDATION"),
        ):
            patch.setattr(module, name, VALIDATION)
        yield
