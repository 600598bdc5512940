from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from otel_llm.settings import Loaded, load

Load = Callable[..., Loaded]


@pytest.fixture
def load_yaml(tmp_path: Path) -> Load:
    """Load settings from YAML text, through an environment that names the file."""

    def from_text(
        text: str, environ: Mapping[str, str] | None = None, code: Mapping[str, object] | None = None
    ) -> Loaded:
        path = tmp_path / "otel-llm.yaml"
        path.write_text(text)
        return load(code, {"OTEL_LLM_CONFIG": str(path), **(environ or {})})

    return from_text
