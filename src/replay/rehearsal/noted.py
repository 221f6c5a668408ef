"""What an earlier ``rehearsal.json`` notes of Stage, looked at before anything of it is taken over."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from replay.errors import InputError


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _table_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


_BY_ARM: dict[str, tuple[Callable[[Any], bool], str]] = {
    "fingerprints": (_is_text, "a text"),
    "schemas": (_is_text, "a text"),
    "rows": (_table_of(_is_count), "a table of counts"),
    "differences": (_list_of(_is_text), "a list of texts"),
    "pools": (_table_of(_is_text), "a table of texts"),
    "databases": (_list_of(lambda value: isinstance(value, dict)), "a list of tables"),
}


def check_noted(file: Path, stage: Any, arms: Iterable[str]) -> None:
    """Raise InputError where what ``stage`` of the rehearsal in ``file`` says of these arms is not of its kind."""
    arms = tuple(arms)
    told = stage if isinstance(stage, dict) else {}
    for key, (fits, what) in _BY_ARM.items():
        noted = told.get(key, {})
        if not isinstance(noted, dict):
            raise InputError(f"{file} is damaged: {key} of its stage is no table.")
        for arm in arms:
            if arm in noted and not fits(noted[arm]):
                raise InputError(f"{file} is damaged: {key} of {arm} in its stage is not {what}.")
