"""Defaults, a TOML file and the environment in, one checked set of settings out.

Each stage keeps its own frozen group beside its code, with its defaults and units; this file only
gathers them, so that there is one place to look and one error that names every fault at once. The
environment wins over the file: `EARWITNESS_SESSION__IDLE_LIMIT_S=60` sets `idle_limit_s` in the
group `session`. A secret is not a setting: the data folder holds the files of keys, the settings
only say where it is.
"""

from dataclasses import dataclass, fields, is_dataclass
from math import isnan
from pathlib import Path
from typing import Annotated, Self

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError
from typing_extensions import override

from security.issuers import IssuerSettings, is_apart
from security.suspicion import SuspicionSettings
from security.tokens import TokenPolicy
from security.trail_places import TrailPlaces
from security.trail_settings import TrailSettings, trail_faults
from server.bridge_settings import (
    AudioSocketSettings,
    BridgeSettings,
    audiosocket_faults,
    bridge_faults,
)
from server.call import CallsSettings
from server.client_settings import ClientSettings, client_faults
from server.engines.transformers_settings import TransformersSettings
from server.engines.whisper_ct2 import WhisperSettings
from server.grant import GrantSettings
from server.line import ConnectionSettings
from server.listed import Listed, lists_in
from server.listen_settings import ListenSettings, listen_faults
from server.refusals import RefusalSettings
from server.rest import RestSettings
from server.scheduler import SchedulerSettings
from server.session_values import SessionSettings
from server.sign_in_settings import SignInSettings, sign_in_faults
from server.subject_settings import SubjectSettings, subject_faults
from server.tickets import TicketSettings


class SettingsError(Exception):
    """One or more settings are wrong; the text has a line for each, by key and rule, never by
    value.
    """


@dataclass(frozen=True, slots=True)
class PackSettings:
    """What opens model packs, and whose packs are trusted."""

    keys: Annotated[tuple[str, ...], Listed] = ()
    """Where to ask for the pack key, in this order: `file:PATH`, `vault:MOUNT/KEY` and so on.
    Empty: the key file `keys/pack.key` of the data folder, made when it is missing."""
    publishers: Annotated[tuple[Path, ...], Listed] = ()
    """Public keys, one of which must have signed a pack. Empty: `keys/publisher.pem.pub` of the
    data folder, made when it is missing."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="EARWITNESS_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
        hide_input_in_errors=True,
    )

    data_folder: Path = Path("data")
    model: str = "tiny.en"
    """Name of a pack under `models/` in the data folder."""
    packs: PackSettings = PackSettings()
    vad: str = "silero"
    listen: ListenSettings = ListenSettings()
    token_policy: TokenPolicy = TokenPolicy(issuer="earwitness", audience="earwitness")
    """Of tokens that this server's own key signs."""
    issuers: tuple[IssuerSettings, ...] = ()
    """Others whose tokens are accepted: in the file a table each, in the environment JSON."""
    grants: GrantSettings = GrantSettings()
    tickets: TicketSettings = TicketSettings()
    sign_in: SignInSettings = SignInSettings()
    subjects: SubjectSettings = SubjectSettings()
    refusals: RefusalSettings = RefusalSettings()
    rest: RestSettings = RestSettings()
    bridges: tuple[BridgeSettings, ...] = ()
    """Of telephone systems: in the file a table each, in the environment JSON."""
    clients: ClientSettings = ClientSettings()
    """Of other people's APIs."""
    audiosocket: AudioSocketSettings = AudioSocketSettings()
    calls: CallsSettings = CallsSettings()
    audit: Annotated[TrailSettings, lists_in("checkpoint_copies")] = TrailSettings()
    suspicion: SuspicionSettings = SuspicionSettings()
    session: SessionSettings = SessionSettings()
    connection: ConnectionSettings = ConnectionSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    whisper: WhisperSettings = WhisperSettings()
    transformers: TransformersSettings = TransformersSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = list(_unusable_numbers("", self))
        if self.vad not in DETECTORS:
            faults.append(f"vad: one of {', '.join(DETECTORS)}")
        faults += listen_faults(self.listen)
        if self.connection.outbox_events == 0:  # a queue of no size has no end
            faults.append("connection.outbox_events: at least 1")
        most_s = self.token_policy.max_lifetime_s
        faults += [f"sign_in.{fault}" for fault in sign_in_faults(self.sign_in, most_s)]
        faults += [f"subjects.{fault}" for fault in subject_faults(self.subjects)]
        faults += [f"audit.{fault}" for fault in trail_faults(self.audit)]
        faults += bridge_faults(self.bridges)
        faults += [f"clients.{fault}" for fault in client_faults(self.clients)]
        faults += [f"audiosocket.{fault}" for fault in audiosocket_faults(self.audiosocket)]
        faults += _issuer_faults(self.token_policy, self.issuers)
        names = {"model": self.model, "transformers.aligner": self.transformers.aligner}
        faults += [f"{key}: a name, not a path" for key, name in names.items() if _is_path(name)]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def policies(self) -> tuple[TokenPolicy, ...]:
        """Of all issuers, our own first."""
        return (self.token_policy, *(other.policy for other in self.issuers))

    @property
    def keys_folder(self) -> Path:
        """Where key files lie."""
        return self.data_folder / "keys"

    @property
    def pack_key_file(self) -> Path:
        """Opens the model packs, unless other keys are named."""
        return self.keys_folder / "pack.key"

    @property
    def pack_key_uris(self) -> tuple[str, ...]:
        """What opens the model packs."""
        return self.packs.keys or (f"file:{self.pack_key_file}",)

    @property
    def publisher_key_file(self) -> Path:
        """Signs new packs; its public half lies beside it."""
        return self.keys_folder / "publisher.pem"

    @property
    def publisher_files(self) -> tuple[Path, ...]:
        """Public keys of those whose packs are trusted."""
        own = self.publisher_key_file
        return self.packs.publishers or (own.with_name(own.name + ".pub"),)

    @property
    def accepted_file(self) -> Path:
        """The highest version of each model that was opened."""
        return self.data_folder / "accepted-versions.json"

    @property
    def signing_key_file(self) -> Path:
        """Signs tokens; its public half lies beside it."""
        return self.keys_folder / "signing.pem"

    @property
    def retired_keys_file(self) -> Path:
        """Public keys that signed tokens before, each with its end."""
        return self.keys_folder / "retired-signing.jwks"

    @property
    def revocations_file(self) -> Path:
        """Tokens, subjects and keys that count no more."""
        return self.data_folder / "revocations.ndjson"

    @property
    def pseudonyms_key_file(self) -> Path:
        """Makes names of telephone numbers."""
        return self.keys_folder / "pseudonyms.key"

    @property
    def models_folder(self) -> Path:
        """Where packs lie, each under its name."""
        return self.data_folder / "models"

    @property
    def pack_folder(self) -> Path:
        """The pack of the model in use."""
        return self.models_folder / self.model

    @property
    def trail(self) -> TrailPlaces:
        """Where the audit trail lies."""
        return TrailPlaces(self.data_folder / "audit", self.keys_folder)


DETECTORS = ("silero", "webrtc")


def _is_path(name: str | None) -> bool:
    """Whether it is anything but the name of something in a folder."""
    return name is not None and (Path(name).name != name or name.startswith(".") or not name)


def load_settings(file: Path | None = None, **overrides: object) -> Settings:
    """Read the settings. Raises SettingsError."""

    class Sources(Settings):
        @classmethod
        @override
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            toml = TomlConfigSettingsSource(settings_cls, file) if file else None
            return (init_settings, env_settings, *([toml] if toml else []))

    try:
        if file is not None and not file.is_file():
            raise SettingsError(f"{file}: no such file")
        return Sources(**overrides)  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as error:
        lines = [_line(e["loc"], e["msg"]) for e in error.errors()]
        raise SettingsError("\n".join(lines)) from None
    except SourceError as error:  # a group in the environment that is not JSON; names the group
        raise SettingsError(str(error)) from None
    except ValueError:
        raise SettingsError(f"{file}: not TOML") from None


def _line(place: tuple[int | str, ...], text: str) -> str:
    return f"{'.'.join(map(str, place)) or 'settings'}: {text.removeprefix('Value error, ')}"


def _issuer_faults(local: TokenPolicy, others: tuple[IssuerSettings, ...]) -> list[str]:
    faults = [
        f"issuers.{index}.{fault}"
        for index, settings in enumerate(others)
        for fault in settings.faults()
    ]
    names = [local.issuer, *(settings.issuer for settings in others)]
    if len(set(names)) < len(names):
        faults.append("issuers: each once, and none like token_policy.issuer")
    if not local.issuer or " " in local.issuer:
        faults.append("token_policy.issuer: not empty, and without spaces")
    if not is_apart(local):
        faults.append("token_policy.admin_audience: not empty, and not the audience")
    if local.algorithm != "EdDSA":
        faults.append("token_policy.algorithm: EdDSA, which the signing key is made for")
    return faults


def _unusable_numbers(prefix: str, group: object) -> list[str]:
    """Every number here is an amount: none may be below zero, or nothing at all."""
    names = [f.name for f in fields(group)] if is_dataclass(group) else list(Settings.model_fields)
    faults: list[str] = []
    for name in names:
        value = getattr(group, name)
        if is_dataclass(value):
            faults += _unusable_numbers(f"{prefix}{name}.", value)
        elif isinstance(value, float) and isnan(value):
            faults.append(f"{prefix}{name}: a number")
        elif isinstance(value, int | float) and value < 0 and "log_prob" not in name:
            faults.append(f"{prefix}{name}: not below 0")
    return faults
