"""What stands for a list in the environment in, a list out; for the groups of settings."""

from collections.abc import Mapping

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


def lists_in(*names: str) -> BeforeValidator:
    """For a group that may not know of this file: which of its settings are lists. They are of
    paths: what is not JSON may have several, with a comma between.
    """

    def read(group: object) -> object:
        if not isinstance(group, Mapping):
            return group
        return {
            name: _read_paths(value) if name in names else value for name, value in group.items()
        }

    return BeforeValidator(read)


def _read_paths(value: object) -> object:
    if isinstance(value, str) and not value.startswith("["):
        return tuple(filter(None, value.split(",")))
    return _read_list(value)
