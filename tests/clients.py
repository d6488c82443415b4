"""Other people's clients, as their registries serve them, each in a process of its own.

`.ci/clients` installs them: for Python into an environment of their own, as they want other
versions than we do, and for Node. A test runs a script of `tests/e2e/clients` with them: it gets a
JSON object on its standard input, credentials and audio too, so that they are neither in a command
line nor in a file, and prints what it heard, a JSON object a line. Such a process sees nothing of
our environment, and no proxy.

Refuses to be looked for elsewhere than in EARWITNESS_TEST_CLIENTS or `build/clients`.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

BUILT = Path(__file__).parent.parent / "build" / "clients"
SCRIPTS = Path(__file__).parent / "e2e" / "clients"
RUN_LIMIT_S = 120.0


def clients_root() -> Path | None:
    """Where they were installed, if they were."""
    root = Path(os.environ.get("EARWITNESS_TEST_CLIENTS") or BUILT)
    needed = (root / "made", root / "python/bin/python", root / "node/node_modules")
    return root if all(path.exists() for path in needed) else None


needs_clients = pytest.mark.skipif(
    clients_root() is None,
    reason="needs other people's clients: run .ci/clients, or set EARWITNESS_TEST_CLIENTS",
)


async def heard_by(
    script: str, given: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> list[dict]:
    """What the script printed; `.py` runs with the Python clients, `.js` with those for Node. It
    has to end by itself, and well: an error that is expected is one of its lines.
    """
    root = clients_root()
    assert root is not None
    is_node = script.endswith(".js")
    program = ["node"] if is_node else [str(root / "python/bin/python"), "-E", "-s", "-X", "utf8"]
    process = await asyncio.create_subprocess_exec(
        *(*program, str(SCRIPTS / script)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=root,  # some write what they hear into where they are
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(root),
            "NODE_PATH": str(root / "node/node_modules"),
            **(environment or {}),
        },
    )
    try:
        async with asyncio.timeout(RUN_LIMIT_S):
            out, errors = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode(errors="replace")[-2000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
