"""Whether anybody listens where a plan's connections go: what is out of reach is not asked, and no fault."""

import os
import socket
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from replay.rehearsal.destinations import settings_of

_PATIENCE_S = 3.0


def listens(host: str, port: int) -> str:
    """Why nobody is reached there; empty where somebody listens."""
    try:
        socket.create_connection((host, port), timeout=_PATIENCE_S).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return ""


def database_listens(dsn: str) -> str:
    """Why no server is reached by a PostgreSQL connection string; empty where one of its places has one."""
    places = _places(dsn)
    why = ""
    for host, port in places:
        if host.startswith(("/", "@")):
            file = Path(host) / f".s.PGSQL.{port}"
            why = "" if host.startswith("@") or file.exists() else f"there is no {file}"
        else:
            why = listens(host, int(port) if port.isdecimal() else 0)
        if not why:
            return ""
    return why


def place_of(dsn: str) -> str:
    """Where a connection string leads, without who goes there: ``127.0.0.1:5432/app``."""
    name = conninfo_to_dict(dsn).get("dbname") or os.environ.get("PGDATABASE") or ""
    return ",".join(f"{host}:{port}" for host, port in _places(dsn)) + (f"/{name}" if name else "")


def _places(dsn: str) -> list[tuple[str, str]]:
    """Hosts (or folders of sockets) with their ports; what the string leaves out is the environment's, as ever."""
    values = settings_of(dsn)
    hosts = (values.get("hostaddr") or values.get("host") or "").split(",")
    ports = (values.get("port") or "5432").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    found = [(host or _socket_folder(), port or "5432") for host, port in zip(hosts, ports, strict=False)]
    return list(dict.fromkeys(found))


def _socket_folder() -> str:
    # As it was compiled in, which differs between builds.
    return next((folder for folder in ("/var/run/postgresql", "/tmp") if list(Path(folder).glob(".s.PGSQL.*"))), "/tmp")  # noqa: S108
