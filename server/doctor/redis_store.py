"""The settings of a shared Redis in; whether it answers, and is new enough, out.

It is asked as the server would ask it, by the same client; nothing is written there.
"""

import asyncio
import re
from collections.abc import Callable
from importlib.util import find_spec

from server.doctor.finding import Finding, bad, ok, sentence_of
from server.start_error import StartError
from server.subject_settings import SubjectSettings

ASK_LIMIT_S = 2.0
OLDEST = (5, 0)
"""Scripts that ask for the time may not write on older ones."""
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,9}){1,3}", re.ASCII)


def check_redis(
    settings: SubjectSettings, find_library: Callable[[str], object] = find_spec
) -> list[Finding]:
    """Nothing if none is named."""
    check = "redis"
    if settings.redis_url is None:
        return []
    if find_library("redis") is None:
        return [bad(check, "its library is not installed.", "pip install '.[server,redis]'.")]
    from redis.exceptions import RedisError

    try:
        version = asyncio.run(_version(settings))
    except StartError as fault:
        return [bad(check, sentence_of(fault), "mend what it says.")]
    except (RedisError, OSError, TimeoutError):
        text = "it does not answer within two seconds, or not to us: nobody is let in without it."
        return [bad(check, text, "see to the address, the password, TLS and the network.")]
    return [version_finding(version)]


def version_finding(version: str) -> Finding:
    """The same, of one that answers."""
    if not _VERSION.fullmatch(version):
        return ok("redis", "it answers, and does not say which version it is.")
    if tuple(map(int, version.split("."))) < OLDEST:
        text = "it is too old: scripts that ask for the time may not write there."
        return bad("redis", text, "take Redis 5 or newer.", version)
    return ok("redis", "it answers.", version)


async def _version(settings: SubjectSettings) -> str:
    from server.redis_client import open_redis_client

    client = open_redis_client(settings)
    try:
        async with asyncio.timeout(ASK_LIMIT_S):
            await client.ping()
            told: dict[str, object] = await client.info("server")
            return str(told.get("redis_version", ""))
    finally:
        await client.aclose()
