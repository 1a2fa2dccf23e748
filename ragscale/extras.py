"""The command that installs an optional extra of ragscale, for the remedies in messages."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["pip_install"]


def pip_install(extra: str) -> str:
    """The command that adds an extra to the installation that runs, from where that came.

    Read from what pip noted at the installation (PEP 610): the folder of a clone, a repository, an archive. Without
    such a note ragscale came from a package index, where its name is enough; or it runs from a folder and was never
    installed.

    Args:
        extra: Name of an extra in ``pyproject.toml``.

    Returns:
        ``pip install '/home/me/ragscale[serve]'``, or with ``-e`` where the clone was installed editable;
        ``pip install 'ragscale[serve] @ git+https://...'``; ``pip install 'ragscale[serve]'``.
    """
    origin = _origin()
    if origin is None:
        clone = _clone(Path(__file__).parents[1])
        return _command(f"{clone}[{extra}]" if clone else f"ragscale[{extra}]")
    url = str(origin.get("url", ""))
    if "dir_info" in origin:
        folder = _clone(Path(unquote(urlsplit(url).path)))
        if folder is None:  # moved, or deleted since
            return _command(f".[{extra}]") + " in a clone of ragscale"
        return _command(f"{folder}[{extra}]", *["-e"] * bool(origin["dir_info"].get("editable")))
    vcs = origin.get("vcs_info")
    if vcs:
        version = vcs.get("requested_revision") or vcs.get("commit_id", "")
        url = f"{vcs.get('vcs', 'git')}+{url}" + f"@{version}" * bool(version)
    return _command(f"ragscale[{extra}] @ {url}")


def _origin() -> dict[str, Any] | None:
    """The origin of this installation, as pip noted it; None where it noted nothing."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import, and seldom needed

    try:
        noted = distribution("ragscale").read_text("direct_url.json")
        origin = json.loads(noted) if noted else None
    except (PackageNotFoundError, OSError, ValueError):
        return None
    return origin if isinstance(origin, dict) else None


def _clone(folder: Path) -> Path | None:
    return folder if (folder / "pyproject.toml").is_file() else None


def _command(what: str, *options: str) -> str:
    return " ".join(["pip install", *options, shlex.quote(what)])
