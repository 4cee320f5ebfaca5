"""What the pages share that hold everything themselves."""

from __future__ import annotations

import base64
import hashlib


def content_policy(style: str, script: str) -> str:
    """A content security policy by which nothing may be fetched or run but these two texts."""
    return (
        f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
