"""Where traffic was recorded, by the names that people use. Load never goes to the hosts of a capture of production."""

PRODUCTION = "production"
_ALSO_PRODUCTION = frozenset({"prod", "prd", "live", "production"})


def parse_environment(text: str) -> str:
    """An environment's name in small letters; ``prod``, ``prd`` and ``live`` are production."""
    name = text.strip().lower()
    return PRODUCTION if name in _ALSO_PRODUCTION else name
