"""The integrations that the demonstration's API knows: made up, with secrets made from their names.

They are secrets only in form: Stage is built from this file, on this machine, and lives for minutes.
"""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of integration. ``devices`` says whether its tokens are issued to devices; ``seats`` work at once."""

    name: str
    integrations: int
    seats: int
    devices: bool


@dataclass(frozen=True, slots=True)
class Integration:
    """A client of the API, with the number that it has in the database."""

    number: int
    client_id: str
    client_secret: str
    product: Product


PRODUCTS = (
    Product("door-scanner", 12, 2, devices=True),
    Product("kiosk", 6, 2, devices=True),
    Product("badge-printer", 8, 2, devices=False),
    Product("crm-sync", 6, 1, devices=False),
    Product("dashboard", 4, 2, devices=False),
    Product("partner", 2, 2, devices=False),
    Product("report-warehouse", 2, 1, devices=False),
)
QA = Product("qa-suite", 1, 1, devices=False)
SPARE = Product("sandbox", 1, 1, devices=False)


def _integrations() -> tuple[Integration, ...]:
    named = [
        (product, f"{product.name}-{number:02}") for product in PRODUCTS for number in _from_1(product.integrations)
    ]
    named += [(QA, QA.name), (SPARE, f"{SPARE.name}-01")]
    return tuple(
        Integration(number, client_id, _secret(client_id), product)
        for number, (product, client_id) in enumerate(named, 1)
    )


def _from_1(count: int) -> range:
    return range(1, count + 1)


def _secret(client_id: str) -> str:
    return "demo-" + hashlib.blake2b(client_id.encode(), digest_size=12).hexdigest()


INTEGRATIONS = _integrations()


def write_identities(file: Path) -> None:
    """Write Stage's credentials as CSV: the client's name and its secret."""
    with file.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["client", "client_secret"])
        rows.writerows([integration.client_id, integration.client_secret] for integration in INTEGRATIONS)
    file.chmod(0o600)
