"""What stands for a list in the environment in, a list out; for the groups of settings."""

from pydantic import BeforeValidator
from pydantic_core import from_json


def _read_list(value: object) -> object:
    """In the environment a list is JSON, or one entry as it is."""
    match value:
        case "":
            return ()
        case str() if value.startswith("["):
            return from_json(value)
        case str():
            return (value,)
        case _:
            return value


Listed = BeforeValidator(_read_list)
