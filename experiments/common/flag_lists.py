"""Flags that hold several values in one text."""

from seqjax.errors import LARGEST_INT, InputError, check_rate, shown


def whole_numbers(flag: str, text: str, *, at_least: int = 1) -> tuple[int, ...]:
    """The integers of a flag, separated by commas, in the order they are given.

    Raises:
      InputError: if one is not a whole number of at least `at_least`.
    """
    parts = [part.strip() for part in text.split(",")]
    numbers = tuple(int(p) for p in parts if p.isdecimal() and p.isascii() and len(p) < 20)
    if len(numbers) < len(parts) or not at_least <= min(numbers) <= max(numbers) <= LARGEST_INT:
        raise InputError(
            f"{flag} takes whole numbers of at least {at_least}, separated by commas, got"
            f" {shown(text)}."
        )
    return numbers


def positive_numbers(flag: str, text: str) -> tuple[float, ...]:
    """The finite numbers above 0 of a flag, separated by commas, each once, in the order they are given.

    Raises:
      InputError: if one is no such number.
    """
    try:
        given = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{flag} takes numbers separated by commas, got {shown(text)}.") from None
    return tuple(dict.fromkeys(check_rate(flag, number) for number in given))
