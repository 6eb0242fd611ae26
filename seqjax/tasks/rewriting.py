"""Strings to be rewritten, each with one right answer: 100 % can be reached.

dates    "friday, the 12th of march 1999"  ->  "1999-03-12"
copy     "qkzv"                            ->  "qkzv"
reverse  "qkzv"                            ->  "vzkq"
sums     "12+345"                          ->  "357"        (Zaremba and Sutskever, 2014)
"""

import datetime
import string
from collections.abc import Callable

import numpy as np

from seqjax.errors import InputError, check_positive, shown

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FIRST, LAST = datetime.date(1900, 1, 1).toordinal(), datetime.date(2099, 12, 31).toordinal()

Draw = Callable[
    [np.random.Generator, int], tuple[str, str]
]  # (random, longest) -> (source, target)


def rewriting(task: str, count: int, *, longest: int = 20, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of a string and what it is rewritten to, by a name of TASKS.

    `longest` is the greatest length of a string of letters, or of a number of a sum; each length from
    1 is as probable, of a number before its leading zeros are left out. Dates have the lengths that they have.

    Raises:
      InputError: if there is no such task, or a number is out of range.
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, got {shown(task)}.")
    check_positive("count", count)
    check_positive("longest", longest, at_most=1000)
    random = np.random.default_rng(seed)
    return [TASKS[task](random, longest) for _ in range(count)]


def _dates(random: np.random.Generator, longest: int) -> tuple[str, str]:
    date = datetime.date.fromordinal(int(random.integers(FIRST, LAST + 1)))
    month, day, year = MONTHS[date.month - 1], date.day, date.year
    name, short = DAYS[date.weekday()], month[:3]
    endings = {1: "st", 2: "nd", 3: "rd"}
    nth = f"{day}{'th' if 10 < day < 20 else endings.get(day % 10, 'th')}"
    forms = (
        f"{day} {short} {year}",
        f"{month} {day}, {year}",
        f"{day:02}/{date.month:02}/{year}",  # the day first
        f"{day}.{date.month}.{year}",
        f"{nth} of {month} {year}",
        f"{name}, {day} {month} {year}",
        f"{name}, the {nth} of {month} {year}",
        f"{short} {nth}, {year}",
    )
    return forms[random.integers(len(forms))], date.isoformat()


def _letters(random: np.random.Generator, longest: int) -> str:
    count = random.integers(1, longest + 1)
    return "".join(string.ascii_lowercase[i] for i in random.integers(26, size=count))


def _copy(random: np.random.Generator, longest: int) -> tuple[str, str]:
    text = _letters(random, longest)
    return text, text


def _reverse(random: np.random.Generator, longest: int) -> tuple[str, str]:
    text = _letters(random, longest)
    return text, text[::-1]


def _sums(random: np.random.Generator, longest: int) -> tuple[str, str]:
    digits = random.integers(1, longest + 1, size=2)
    first, second = (
        int("".join(map(str, random.integers(10, size=int(count))))) for count in digits
    )
    return f"{first}+{second}", str(first + second)


TASKS: dict[str, Draw] = {"dates": _dates, "copy": _copy, "reverse": _reverse, "sums": _sums}
