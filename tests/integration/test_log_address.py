"""Clients reach a broker behind TLS, and name what is wrong where they cannot."""

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from forewarn.config.settings import Settings
from forewarn.stores.log_address import reach


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {folder}/key.pem -out {folder}/cert.pem"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def behind_tls(broker: str, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Address where TLS ends in front of the broker."""
    loop = asyncio.new_event_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    host, _, port = broker.rpartition(":")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(65536):
            sink.write(chunk)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=5)


def ask(address: str) -> int:
    return len(AdminClient({**reach(address), "log_level": 0}).list_topics(timeout=5).brokers)


def test_tls_is_spoken_and_checked(
    behind_tls: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_KAFKA_SECURITY_PROTOCOL", "SSL")
    with pytest.raises(KafkaException):
        ask(behind_tls)  # nobody signed this certificate
    monkeypatch.setenv("FOREWARN_KAFKA_CA_FILE", str(certificate[0]))
    assert any(answers(behind_tls) for _ in range(8))


def answers(address: str) -> bool:
    """Whether one broker is told. The library may ask by the address that the broker tells, which is not behind TLS."""
    try:
        return ask(address) == 1
    except KafkaException:
        return False


def test_sasl_is_told_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("SECURITY_PROTOCOL", "SASL_SSL"), ("SASL_MECHANISM", "SCRAM-SHA-512"), ("SASL_USERNAME", "forewarn"),
        ("SASL_PASSWORD", "s3cret"),
    ):  # fmt: skip
        monkeypatch.setenv(f"FOREWARN_KAFKA_{name}", value)
    told = reach("redpanda:9092")
    assert told == {
        "bootstrap.servers": "redpanda:9092", "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "forewarn", "sasl.password": "s3cret",
    }  # fmt: skip
    AdminClient(told)  # the library knows all of these names
    assert "s3cret" not in repr(Settings())


def test_passwords_come_from_files_as_containers_mount_them(tmp_path: Path) -> None:
    (tmp_path / "forewarn_postgres_password").write_text("p/w@rd:\n")
    settings = Settings(
        postgres_url="postgresql://forewarn@timescaledb:5432/forewarn", _secrets_dir=tmp_path, _env_file=None
    )  # type: ignore[call-arg]
    assert settings.postgres_url.get_secret_value() == "postgresql://forewarn:p%2Fw%40rd%3A@timescaledb:5432/forewarn"
    assert "p/w@rd" not in repr(settings)
