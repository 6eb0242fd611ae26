"""Tables as plain text, for the terminal and table.txt."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, flush_left: int = 1) -> str:
    """Columns as wide as their widest entry.

    Args:
      head: the names of the columns.
      rows: as many entries each.
      flush_left: how many columns, from the first, begin at their left edge; numbers end at the right.
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            entry.ljust(width) if i < flush_left else entry.rjust(width)
            for i, (entry, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
