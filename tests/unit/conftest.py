from functools import partial
from pathlib import Path

import invented_report
import pytest


@pytest.fixture
def invented(tmp_path: Path):
    """Call it for a ReportInput: invented(boots=3, repeats=2, fidelity=..., **fields of ReportInput to replace)."""
    return partial(invented_report.make, tmp_path)
