"""The engine that needs nothing: one record after the other, in this process."""

from collections.abc import Generator, Mapping

from seqjax.search.engines.records import Record, Result, function_of


def here(function: str, records: Mapping[str, Record]) -> Generator[tuple[str, Result]]:
    """Evaluates the records in their order. What an evaluation raises ends the search."""
    compute = function_of(function)
    for name, record in records.items():
        yield name, Result(compute(record))
