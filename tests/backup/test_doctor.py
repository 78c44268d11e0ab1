"""`lakewright doctor` names what is weak, says what it cannot know, and finds nothing wrong with a sound installation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup.conftest import LivedIn, run

from lakewright.app import build
from lakewright.backup.doctor import examine
from lakewright.identity import people
from lakewright.kernel.config import BackupSettings, Settings


@pytest.fixture
def stopped(settings: Settings) -> Settings:
    build(settings).stop()
    return settings.model_copy(update={"admin_token": None})


def said(settings: Settings, level: str) -> str:
    return "\n".join(each.what for each in examine(settings) if each.level == level)


def test_nothing_is_wrong_with_a_new_installation_while_it_runs(lived_in: LivedIn):
    database = ["--database-url", lived_in.settings.database_url] if lived_in.settings.database_url else []
    told = run("doctor", "--data-dir", str(lived_in.settings.data_dir), *database)
    assert told.exit_code == 0, told.output
    assert "is signed by us" in told.output
    assert "known vulnerability" in told.output


@pytest.mark.parametrize("name", ["root.key", "."])
def test_files_that_others_can_read_are_wrong(stopped: Settings, name: str):
    assert said(stopped, "wrong") == ""
    (stopped.data_dir / name).chmod(0o755)
    assert "can be read by others" in said(stopped, "wrong")


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({"host": "0.0.0.0"}, "wrong", "refusing to listen"),
        ({"insecure_public": True}, "weak", "in the clear"),
        ({"backup": BackupSettings(directory=Path("/nowhere"))}, "wrong", "there is no set yet"),
        ({}, "weak", "no backup of itself"),
        ({}, "weak", "the master key lies beside the database"),
    ],
)
def test_weak_settings_are_named(stopped: Settings, changed, level, words):
    assert words in said(stopped.model_copy(update=changed), level)


def test_a_guessable_first_token_is_named(settings: Settings):
    build(settings).stop()
    weak = Settings(data_dir=settings.data_dir, database_url=settings.database_url, admin_token="short")  # type: ignore[arg-type]
    assert "can be guessed" in said(weak, "weak")


def test_a_certificate_about_to_end_is_named(stopped: Settings, tmp_path: Path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=80)).not_valid_after(now + timedelta(days=5))
    file = tmp_path / "tls.pem"
    file.write_bytes(made.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert "the TLS certificate ends" in said(stopped.model_copy(update={"tls_certificate": file}), "weak")


def test_a_clock_that_went_back_is_found(stopped: Settings):
    platform = build(stopped)
    platform.call(platform.snapshot(lambda ctx: ctx.id_of("admin")), people.create, userName="ada")
    platform.writer.submit(lambda turn: turn.tx.run("UPDATE audit SET at = ?", 10**14))
    platform.stop()
    found = said(stopped, "wrong")
    assert "the clock went back" in found


def test_a_head_that_somebody_else_signed_is_found(stopped: Settings):
    platform = build(stopped)
    platform.writer.submit(lambda turn: turn.tx.run("UPDATE audit_head SET mac = 'forged'"))
    platform.stop()
    assert "not signed by us" in said(stopped, "wrong")
