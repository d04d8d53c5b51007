"""Write every dashboard's JSON."""

from __future__ import annotations

from dashboards.documents import FOLDER, documents

for name, text in documents().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
