"""English."""

from __future__ import annotations

import string

from dptr.config import CorpusConfig, SourceConfig
from dptr.text.language import Language

LANGUAGE = Language(
    code="en",
    name="English",
    charset=string.digits + string.ascii_letters + string.punctuation,
    direction="ltr",
    corpus=CorpusConfig(
        sources=(
            SourceConfig(kind="wordfreq", language="en", weight=0.75),
            SourceConfig(kind="pattern", weight=0.25),
        )
    ),
)
