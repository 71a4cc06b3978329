"""A stack whose doors have a certificate: addresses, and probes that accept that certificate and no other."""

import asyncio
from functools import partial
from pathlib import Path

import pytest
from certificates import Authority, web_server

from forewarn.config.settings import Settings
from forewarn.config.tls import trust_ours
from forewarn.services.collector.__main__ import export_of
from forewarn.services.collector.export import Export
from forewarn.services.collector.readings import Instrument, Reading
from forewarn.services.stack.definition import Http, Service
from forewarn.services.stack.environment import settings_environment
from forewarn.services.stack.plan import make_plan
from forewarn.services.stack.probes import LogSlice, wait_until_ready


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_addresses_and_settings_of_clients(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.sign("monitor.example.org")
    monkeypatch.chdir(tmp_path)
    settings = Settings(tls_certificate_file=Path("server.pem"), tls_key_file=Path("server.key"), _env_file=None)
    plan = make_plan(settings.model_copy(update={"home": tmp_path}), only=["gateway", "dashboard", "predictor"])
    address = {s.name: s.address.split(":")[0] for s in plan.services}
    assert (address["gateway"], address["dashboard"], address["predictor"]) == ("https", "https", "http")
    told = settings_environment(plan.settings, plan.settings.model_fields_set)
    assert told["FOREWARN_TLS_CERTIFICATE_FILE"] == str(tmp_path / "server.pem")  # services work in another folder
    assert told["FOREWARN_PUBLIC_URL"] == f"https://127.0.0.1:{plan.settings.dashboard_port}"
    ready = {s.name: s.ready for s in plan.services}
    assert ready["gateway"] == Http("/healthz", tmp_path / "server.pem")


def test_half_a_certificate_ends_the_start(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("127.0.0.1")
    with pytest.raises(ValueError, match="go together"):
        make_plan(Settings(home=tmp_path, tls_certificate_file=pair.certificate, _env_file=None), only=["gateway"])


def test_a_probe_takes_the_servers_own_certificate_by_any_name_and_no_other(
    authority: Authority, tmp_path: Path
) -> None:
    own, other = authority.sign("monitor.example.org", file="own"), authority.sign("127.0.0.1", file="other")

    async def is_ready(port: int) -> bool:
        service = Service("gateway", "Gateway", (), Http("/healthz", own.certificate), port)
        try:
            await asyncio.wait_for(wait_until_ready(service, "127.0.0.1", LogSlice(tmp_path / "log", 0)), 1.0)
        except TimeoutError:
            return False
        return True

    with web_server(own) as port:
        assert asyncio.run(is_ready(port))
    with web_server(other) as port:
        assert not asyncio.run(is_ready(port))


def test_the_collector_follows_a_renewed_certificate(authority: Authority) -> None:
    reading = {"local/a": [Reading("system.memory.usage", 1.0, "By", Instrument.GAUGE)]}
    pair = authority.sign("monitor.example.org")
    with web_server(pair) as port:
        export = Export(f"https://127.0.0.1:{port}/v1/metrics", None, "host", partial(trust_ours, pair.certificate))
        assert export.send(reading)
    authority.sign("monitor.example.org")  # into the same files
    with web_server(pair, port):
        assert [export.send(reading) for _ in range(2)][-1]  # the first tells that there is another
        export.close()
    with web_server(authority.sign("127.0.0.1", file="other"), port):
        stranger = Export(f"https://127.0.0.1:{port}/v1/metrics", None, "host", partial(trust_ours, pair.certificate))
        assert not stranger.send(reading)
        stranger.close()


def test_the_collector_compares_the_name_of_another_gateway(authority: Authority) -> None:
    reading = {"local/a": [Reading("system.memory.usage", 1.0, "By", Instrument.GAUGE)]}

    def sends(name: str) -> bool:
        with web_server(authority.sign(name)) as port:
            settings = Settings(
                collector_endpoint=f"https://localhost:{port}", tls_ca_file=authority.certificate, _env_file=None
            )
            export = export_of(settings, "host")
            try:
                return export.send(reading)
            finally:
                export.close()

    assert sends("localhost")
    assert not sends("other.example.org")
