"""The doctor tells apart what can be wrong with TLS at a door, and how each is mended."""

from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, web_server

from forewarn.config.settings import Settings
from forewarn.services.doctor.broker import examine_broker
from forewarn.services.doctor.finding import Finding
from forewarn.services.doctor.servers import examine_servers


def found(port: int, scheme: str = "https", **values: Any) -> dict[str, Finding]:
    """What is said of a dashboard elsewhere."""
    settings = Settings(gateway_port=1, dagster_port=1, predictor_port=1, _env_file=None, **values)
    return {f.check: f for f in examine_servers(settings, {"dashboard": f"{scheme}://127.0.0.1:{port}"})}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_good_certificate_is_told_with_its_end(authority: Authority) -> None:
    with web_server(authority.sign("127.0.0.1")) as port:
        told = found(port, tls_ca_file=authority.certificate)
    assert told["Dashboard"].verdict == "ok"
    assert (told["Dashboard: TLS"].verdict, "(29 days)" in told["Dashboard: TLS"].told) == ("ok", True)


@pytest.mark.parametrize(
    ("names", "days", "verdict", "told", "mend"),
    [
        (["127.0.0.1"], 13.5, "warning", "(13 days)", "renew it"),
        (["127.0.0.1"], -1, "wrong", "has expired", "renew it"),
        (["a.example.org", "b.example.org"], 30, "wrong", "is of a.example.org, b.example.org, not of 127.0.0.1",
         "FOREWARN_PUBLIC_URL"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_certificate(
    authority: Authority, names: list[str], days: float, verdict: str, told: str, mend: str
) -> None:
    with web_server(authority.sign(*names, days=days)) as port:
        finding = found(port, tls_ca_file=authority.certificate)["Dashboard: TLS"]
    assert finding.verdict == verdict
    assert told in finding.told
    assert mend in finding.mend


def test_an_unknown_issuer(authority: Authority) -> None:
    with web_server(authority.sign("127.0.0.1")) as port:
        told = found(port)
    assert "is not known here" in told["Dashboard: TLS"].told
    assert "FOREWARN_TLS_CA_FILE" in told["Dashboard: TLS"].mend
    assert "Dashboard" not in told  # nothing is sent to who cannot show who it is


def test_plain_http_where_tls_is_spoken_and_the_reverse(authority: Authority) -> None:
    with web_server(authority.sign("127.0.0.1")) as port:
        plain = found(port, "http")["Dashboard"]
    assert (plain.verdict, "speaks TLS" in plain.told) == ("wrong", True)
    with web_server() as port:
        reverse = found(port)["Dashboard: TLS"]
    assert (reverse.verdict, "speaks plain http" in reverse.told) == ("wrong", True)
    assert found(1)["Dashboard"].told == "nobody answers at https://127.0.0.1:1/"


def test_our_own_door_has_the_name_that_people_use(authority: Authority) -> None:
    pair = authority.sign("monitor.example.org")
    own = {"tls_certificate_file": pair.certificate, "tls_key_file": pair.key, "dagster_port": 1, "predictor_port": 1}
    with web_server(pair) as port:

        def told(**values: Any) -> dict[str, Finding]:
            settings = Settings(gateway_port=port, dashboard_port=port, _env_file=None, **own, **values)
            return {f.check: f for f in examine_servers(settings)}

        unnamed = told()
        named = told(public_url="https://monitor.example.org:1")
    assert unnamed["TLS"].verdict == "ok"
    assert "not of 127.0.0.1" in unnamed["Gateway: TLS"].told
    assert {named[name].verdict for name in ("Gateway", "Gateway: TLS", "Dashboard", "Dashboard: TLS")} == {"ok"}
    assert named["Public address"].verdict == "warning"  # out of reach from here


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    pair = authority.sign("127.0.0.1")
    half = Settings(tls_certificate_file=pair.certificate, gateway_port=1, _env_file=None)
    assert "go together" in next(iter(examine_servers(half))).told
    with web_server(pair) as port:
        assert "FOREWARN_TLS_CA_FILE" in found(port, tls_ca_file=tmp_path / "empty.pem")["Dashboard"].told


def test_the_broker_behind_tls(authority: Authority, tmp_path: Path) -> None:
    def told(port: int, **values: Any) -> Finding:
        """The first finding: the library is not asked."""
        settings = Settings(
            kafka_bootstrap=f"127.0.0.1:{port}", kafka_security_protocol="SASL_SSL", _env_file=None, **values
        )
        return next(examine_broker(settings))

    with web_server(authority.sign("127.0.0.1")) as port:
        assert told(port, kafka_ca_file=authority.certificate).verdict == "ok"
        assert "FOREWARN_KAFKA_CA_FILE" in told(port).mend
        assert "cannot be used" in told(port, kafka_ca_file=tmp_path / "none.pem").told
    with web_server(authority.sign("redpanda", days=-1)) as port:
        assert "has expired" in told(port, kafka_ca_file=authority.certificate).told
    with web_server() as port:
        assert "no TLS connection" in told(port).told


def test_a_broker_that_speaks_tls_and_is_asked_without(authority: Authority) -> None:
    with web_server(authority.sign("127.0.0.1")) as port:
        found = list(examine_broker(Settings(kafka_bootstrap=f"127.0.0.1:{port}", _env_file=None)))
    assert "speaks TLS" in found[0].told
    assert "FOREWARN_KAFKA_SECURITY_PROTOCOL" in found[0].mend
