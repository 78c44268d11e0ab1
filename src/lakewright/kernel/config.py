"""Settings: one typed class, one section per capability, each field with its help.

`LAKEWRIGHT_PORT=9000` sets a field; `LAKEWRIGHT_SERVING__QUEUE=100` one of a section.
"""

import ipaddress
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class HttpLimits(BaseModel):
    """What a request may be; what passes a limit is refused, never cut. docs/guides/security.md has the reasons."""

    body_bytes: int = Field(default=2 * 2**20, description="Largest JSON body of most operations, bytes.")
    large_body_bytes: int = Field(
        default=16 * 2**20, description="Largest body of operations that carry data in JSON: imports, metrics, queries."
    )
    form_bytes: int = Field(default=64 * 2**10, description="Largest form (sign-in, token endpoint), bytes.")
    upload_bytes: int = Field(default=5 * 2**30, description="Largest file upload accepted, bytes.")
    json_depth: int = Field(default=64, description="Deepest nesting of a JSON body.")
    json_values: int = Field(default=1_000_000, description="Most values a JSON body may hold.")
    head_seconds: float = Field(default=20, description="Longest that the head of a request may take to arrive.")
    body_seconds: float = Field(default=30, description="A body may arrive at any speed for so long.")
    body_rate: int = Field(default=1024, description="Afterwards at so many bytes per second at least, on average.")
    idle_seconds: int = Field(default=75, description="How long a connection may be kept between requests.")
    connections: int = Field(default=2000, description="Most connections at a time; more are answered 503.")
    trusted_proxies: list[str] = Field(
        default=[], description="Addresses or networks whose X-Forwarded-For, -Proto and -Host headers are believed."
    )
    cors_origins: list[str] = Field(
        default=[], description="Origins whose pages may call the API from a browser, exact; none: no CORS at all."
    )

    @property
    def look_seconds(self) -> float:
        """How often connections are looked at."""
        return min(self.head_seconds, self.body_seconds) / 4

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, given: list[str]) -> list[str]:
        for each in given:
            ipaddress.ip_network(each, strict=False)
        return given

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, given: list[str]) -> list[str]:
        for each in given:
            if not re.fullmatch(r"https?://[^/*\s]+", each):
                raise ValueError(f"'{each}' is not an origin such as https://app.example.com")
        return given


class KeySettings(BaseModel):
    master: SecretStr | None = Field(
        default=None,
        description="Master key, 32 bytes in base64, instead of the file root.key; several, newest first, to change it.",
    )
    command: str = Field(
        default="",
        description="Command that wraps the root key with a key kept elsewhere: called with 'wrap' or 'unwrap', text in and out.",
    )


class AuditSettings(BaseModel):
    keep_days: float | None = Field(
        default=None, description="Days after which audit rows move into signed files below data_dir; empty: never."
    )


class StorageSettings(BaseModel):
    external_roots: list[Path] = Field(
        default=[], description="Folders below which external locations may be made; none: nowhere."
    )
    keep_dropped_days: float = Field(
        default=7, description="Days that the files of a dropped managed table or volume are kept."
    )


class JobLimits(BaseModel):
    parallel_tasks: int = Field(default=4, description="Task processes one node runs at the same time.")
    task_memory_mb: int | None = Field(default=None, description="Memory one task may use, MB; empty: no limit.")
    catch_up: bool = Field(
        default=False, description="Whether one run makes up for the moments a schedule missed while nothing ran."
    )
    lost_restarts: int = Field(
        default=3, description="How often a task whose machine died under it is made again, beside its own retries."
    )
    node_silence_seconds: float = Field(
        default=60, description="How long a node may be silent before what it ran counts as lost."
    )
    preload: list[str] | None = Field(
        default=None, description="Libraries imported once, before tasks fork; empty: those most tasks use."
    )


class ModelSettings(BaseModel):
    keep_live_days: float = Field(
        default=90, description="Days for which a model version that was live cannot be deleted."
    )
    keep_deleted_days: float = Field(default=7, description="Days that the files of a deleted model version are kept.")


class ServingSettings(BaseModel):
    start_seconds: float = Field(default=120.0, description="A model that has not loaded by then is given up.")
    answer_seconds: float = Field(default=60.0, description="A prediction that takes longer is answered 503.")
    model_memory_mb: int = Field(default=4096, description="Most memory a model process may use.")
    log_spool_mb: int = Field(
        default=1024, description="Most disk an endpoint's request log takes while its table cannot be written."
    )
    linger: float = Field(
        default=600.0, description="A model process ends when no server has asked it for so many seconds."
    )


class AccessSettings(BaseModel):
    home_folders: bool = Field(
        default=True, description="Whether each new person and service principal gets a folder of their own."
    )
    shared_folder: Literal["", "CAN_READ", "CAN_RUN", "CAN_EDIT", "CAN_MANAGE"] = Field(
        default="", description="What everybody holds on /Shared from the first start on; empty: nothing."
    )
    request_days: float = Field(default=14, description="Days after which an undecided request for access lapses.")


class SqlSettings(BaseModel):
    memory_mb: int = Field(
        default=4096, description="Most memory one SQL statement may use before it spills or fails, MB."
    )
    threads: int = Field(default=2, description="Threads one SQL statement works with.")
    statement_seconds: float = Field(default=3600.0, description="A SQL statement that runs longer is stopped.")
    result_mb: int = Field(default=10_240, description="Largest result of a SQL statement that is kept, MB.")


class SignInSettings(BaseModel):
    issuer: str = Field(default="", description="OpenID provider people sign in with, by its issuer URL; empty: none.")
    client_id: str = Field(default="", description="What this installation is called at the provider.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Its secret there; empty: a public client.")
    provider_name: str = Field(default="your organisation", description="What the sign-in button calls the provider.")
    scopes: str = Field(default="openid profile email", description="Scopes asked of the provider.")
    name_claim: str = Field(default="email", description="Claim that holds a person's user name here.")
    groups_claim: str = Field(default="groups", description="Claim that lists a person's groups; empty: not read.")
    admin_group: str = Field(
        default="", description="Group of the provider whose members are administrators; empty: no claim makes one."
    )
    create_groups: bool = Field(default=True, description="Whether a claimed group that does not exist is made.")
    create_users: bool = Field(
        default=True, description="Whether a person unknown here is made at their first sign-in."
    )
    verified_email: bool = Field(
        default=True, description="Whether an e-mail address counts only when the provider says it has verified it."
    )
    allowed_domains: list[str] = Field(default=[], description="Domains a user name may be of; none: any.")
    internal_provider: bool = Field(
        default=False, description="Whether the provider may be asked at a private or loopback address, or over http."
    )
    session_hours: float = Field(default=8.0, description="Longest life of a console session.")
    idle_minutes: float = Field(default=60.0, description="A console session that is not used for so long is over.")
    failures_per_source: int = Field(default=20, description="Failed sign-ins of one address before it has to wait.")
    failures_per_account: int = Field(default=50, description="Failed sign-ins to one account, likewise.")
    failure_seconds: float = Field(default=3.0, description="Seconds after which one failure is forgotten.")


class TokenSettings(BaseModel):
    longest_days: float = Field(default=730.0, description="Longest life of a personal token or client secret.")
    default_days: float = Field(default=90.0, description="Life of a personal token for which none is asked.")
    access_minutes: float = Field(default=60.0, description="Life of an OAuth access token.")
    refresh_days: float = Field(
        default=30.0, description="How long an application stays signed in by refreshing, after a person's consent."
    )
    internal_issuers: bool = Field(
        default=False,
        description="Whether the keys of federated issuers may be fetched from private or loopback addresses and http.",
    )


class BackupSettings(BaseModel):
    directory: Path | None = Field(
        default=None, description="Where the server keeps backups of itself, on another disk; empty: nowhere."
    )
    every_hours: float = Field(default=24, description="Hours between sets (database and files) in the directory.")
    keep: int = Field(default=14, ge=1, description="Sets that are kept; older ones go.")
    log: bool = Field(
        default=True,
        description="Copy SQLite's log as it is written too, so that any moment can be restored (lakewright[backup]).",
    )
    log_url: str = Field(default="", description="Where the log goes, s3://bucket/path; empty: into the directory.")
    log_endpoint: str = Field(default="", description="The S3 endpoint of log_url, when it is not Amazon's.")
    log_days: float = Field(default=7, description="Days back to which any moment can be restored from the log.")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LAKEWRIGHT_", env_nested_delimiter="__", extra="forbid")

    data_dir: Path = Field(
        default=Path(".lakewright"), description="Where this installation keeps its database, keys and data."
    )
    database_url: str = Field(default="", description="postgresql://… ; empty: SQLite in data_dir.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8470, description="Port to listen on; 0 picks a free one.")
    tls_certificate: Path | None = Field(default=None, description="PEM chain; required to listen on a public address.")
    tls_key: Path | None = Field(default=None, description="PEM key of tls_certificate.")
    insecure_public: bool = Field(
        default=False, description="Listen on a public address without TLS (a proxy in front ends it)."
    )
    admin_token: SecretStr | None = Field(
        default=None, description="First administrator's token; else one is made and shown once."
    )
    workspace: str = Field(default="main", description="Name of the first workspace.")
    public_url: str = Field(default="", description="URL clients reach this server by, when it differs from host:port.")
    base_host: str = Field(
        default="",
        description="Workspaces answer at NAME.base_host, the account at accounts.base_host;"
        " empty: the host of public_url, else localhost.",
    )
    jobs: JobLimits = Field(default_factory=JobLimits, description="How tasks of jobs are run.")
    serving: ServingSettings = Field(default_factory=ServingSettings, description="Model serving.")
    audit: AuditSettings = Field(default_factory=AuditSettings, description="The audit trail.")
    keys: KeySettings = Field(default_factory=KeySettings, description="Where the master key lies.")
    http: HttpLimits = Field(default_factory=HttpLimits, description="Limits on what a request may be.")
    storage: StorageSettings = Field(default_factory=StorageSettings, description="Where data lies.")
    sql: SqlSettings = Field(default_factory=SqlSettings, description="What a SQL statement may use.")
    access: AccessSettings = Field(default_factory=AccessSettings, description="Granting and asking for access.")
    signin: SignInSettings = Field(default_factory=SignInSettings, description="How people sign in.")
    tokens: TokenSettings = Field(default_factory=TokenSettings, description="Tokens and their lifetimes.")
    models: ModelSettings = Field(default_factory=ModelSettings, description="Registered models.")
    backup: BackupSettings = Field(default_factory=BackupSettings, description="Backups the server makes of itself.")

    @property
    def sqlite_path(self) -> Path:
        return self.data_dir / "lakewright.db"
