"""Who may see and change the dashboard: users of a file, readers and editors, and never everybody by accident."""

from pathlib import Path

import pytest

from forewarn.config.settings import Settings
from panel_app.access import EDITOR, FAILURES, READER, Access, AccessError, access_of, hashed, parse_users


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# who\nmia:editor:{hashed('correct-horse')}\n\nron:reader:{hashed('battery-staple')}\n")
    return path


def test_without_sign_in_everybody_on_this_machine_edits() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert access_of(settings(bind_host=host)).role_of(None) == EDITOR


def test_others_are_let_in_only_when_that_is_said(file: Path) -> None:
    for host in ("0.0.0.0", "::", "10.0.0.5", "shop.example"):
        with pytest.raises(AccessError, match="FOREWARN_DASHBOARD_OPEN"):
            access_of(settings(bind_host=host))
        assert not access_of(settings(bind_host=host, dashboard_open=True)).on
        assert access_of(settings(bind_host=host, dashboard_users=file)).on


def test_roles_and_passwords_are_those_of_the_file(file: Path) -> None:
    access = access_of(settings(dashboard_users=file))
    assert [access.role_of(u) for u in ("mia", "ron", "eve", "guest", "", None)] == [EDITOR, READER, *[None] * 4]
    assert access.right("mia", "correct-horse")
    assert not access.right("mia", "battery-staple")
    assert not access.right("eve", "correct-horse")
    assert not access.right("mia", "")


def test_who_is_taken_out_of_the_file_is_out(file: Path) -> None:
    access = access_of(settings(dashboard_users=file))
    file.write_text(f"ron:editor:{hashed('battery-staple')}\n# mia has left\n")
    assert (access.role_of("mia"), access.role_of("ron")) == (None, EDITOR)
    file.write_text("nonsense")
    assert access.role_of("ron") == EDITOR  # a file half written locks nobody out


def test_guessing_is_slowed_down(file: Path) -> None:
    access = access_of(settings(dashboard_users=file))
    for _ in range(FAILURES):
        assert not access.right("ron", "guess")
    assert not access.right("ron", "battery-staple")
    assert access.right("mia", "correct-horse")


def test_a_file_that_names_nobody_or_is_wrong_is_refused(tmp_path: Path) -> None:
    for text, said in {"": "names nobody", "mia:admin:scrypt$a$b": "line 1", "mia:editor:plain": "line 1"}.items():
        (tmp_path / "users").write_text(text)
        with pytest.raises(AccessError, match=said):
            access_of(settings(dashboard_users=tmp_path / "users"))
    with pytest.raises(AccessError, match="cannot be read"):
        access_of(settings(dashboard_users=tmp_path / "none"))
    with pytest.raises(AccessError):
        parse_users(":editor:scrypt$a$b")


def provider(**values: object) -> Access:
    return access_of(settings(oidc_issuer="https://id.example", oidc_client_secret="s", **values))


def test_of_those_signed_in_by_a_provider_only_the_named_edit() -> None:
    access = provider(dashboard_editors="mia@example.com, *@ops.example.com")
    users = ("Mia@example.com", "ada@ops.example.com", "ron@example.com", "guest", "", None)
    assert [access.role_of(u) for u in users] == [EDITOR, EDITOR, READER, None, None, None]


def test_of_those_signed_in_by_a_provider_only_the_named_read_where_some_are() -> None:
    access = provider(dashboard_editors="mia@example.com", dashboard_readers="*@example.org,")
    users = ("mia@example.com", "ron@example.org", "eve@example.com", "x@example.org.evil.example")
    assert [access.role_of(u) for u in users] == [EDITOR, READER, None, None]


def test_a_provider_that_cannot_be_trusted_or_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccessError, match="https://"):
        access_of(settings(oidc_issuer="http://id.example", oidc_client_secret="s"))
    with pytest.raises(AccessError, match="FOREWARN_OIDC_CLIENT_SECRET"):
        access_of(settings(oidc_issuer="https://id.example"))
    for name in ("pam", "nobody"):
        monkeypatch.setenv("PANEL_OAUTH_PROVIDER", name)
        with pytest.raises(AccessError, match=f"PANEL_OAUTH_PROVIDER={name}"):
            access_of(settings())
    monkeypatch.setenv("PANEL_OAUTH_PROVIDER", "github")
    assert access_of(settings(bind_host="0.0.0.0")).on
