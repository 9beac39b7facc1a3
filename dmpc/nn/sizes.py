"""Sizes that constructors are given, looked at before anything is made of them."""

from __future__ import annotations


def check_whole(owner: str, name: str, value: object, least: int) -> int:
    """`value` as an integer; ValueError unless it is a whole number of at least `least`."""
    try:
        number = int(value)  # type: ignore[call-overload]
        whole = number == value
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or number < least:
        raise ValueError(f"{owner}: {name} is {value!r}; it is a whole number, at least {least}")
    return int(number)
