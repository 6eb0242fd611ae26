"""From a frozen dataclass to absl flags, and from an error to one sentence and an exit code.

Flags are defined only when the module is the program: two modules that define the same flag
while they are imported cannot be imported together.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from experiments.common import process, several
from experiments.common.compilation_cache import AUTO, use_compilation_cache
from seqjax.errors import LARGEST_INT, InputError, RunError, one_line, shown
from seqjax.files.json import read_object
from seqjax.runs.sinks import NAMES
from seqjax.runs.stopping import Stopped

_OUT_OF_MEMORY = re.compile(  # by the names that XLA, NumPy and C++ have for it
    r"RESOURCE_EXHAUSTED|out of memory|bad_alloc|(failed|unable) to allocate|array is too big"
    r"|maximum allowed (dimension|size) exceeded",
    re.IGNORECASE,
)
_NO_BACKEND = re.compile(r"unable to initialize backend|unknown backend", re.IGNORECASE)

flags.disclaim_key_flags()  # so that --help lists them under the experiment


def option(
    default: Any,
    help: str,
    choices: tuple[str, ...] = (),
    *,
    may_differ: bool = False,
    words: Mapping[str, int] | None = None,
    check: Callable[[str], object] | None = None,
    from_file: bool = True,
) -> Any:
    """A field of a config that becomes the flag of the same name.

    Args:
      default: the flag's value where it is not given.
      help: what `--help` says of it.
      choices: its only values; any if empty.
      may_differ: whether a run may be resumed with another value than it began with.
      words: that an integer may be written as.
      check: raises InputError for a value that is none; the command line may then have others than
        `choices`, a file may not.
      from_file: whether a run that goes on takes it from its config.json, which a stranger may have written.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "may_differ": may_differ,
        "words": words or {},
        "check": check,
        "from_file": from_file,
    }
    return dataclasses.field(default=default, metadata=metadata)


def workdir_option(name: str) -> Any:
    """The field `workdir` of the program `name`."""
    return option("", f"where to write; runs/{name}-DATE-TIME if empty", may_differ=True)


def resume_option() -> Any:
    """The field `resume`, of a program whose runs go on after a stop."""
    return option(False, "go on with the run in --workdir", may_differ=True)


def log_to_option() -> Any:
    """The field `log_to`, of a program that trains."""
    return option(
        "", f"where metrics go as well: {', '.join(NAMES)}, separated by commas", may_differ=True
    )


def chosen(flag: str, text: str, names: Collection[str]) -> tuple[str, ...]:
    """The names of a flag, separated by commas, each once.

    Raises:
      InputError: if one is not in `names`.
    """
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in found:
        if name not in names:
            raise InputError(f"unknown name {name!r} in {flag}; choose from {', '.join(names)}.")
    return found


def refuse_unused(config: Any, names: Iterable[str], where: str) -> None:
    """Raises InputError if one of these fields of a config is not its default: it has no use `where`."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in names:
        if getattr(config, name) != defaults[name]:
            raise InputError(f"--{name} has no use {where}: leave it out.")


def check_seed(seed: int, seeds: int = 1) -> None:
    """Raises InputError unless `seed` and the `seeds` - 1 after it are seeds of NumPy and of JAX."""
    if not 0 <= seed <= LARGEST_INT - seeds:
        raise InputError(f"--seed must lie between 0 and {LARGEST_INT - seeds}, got {seed}.")


def run(
    main: Callable[..., Any],
    config_class: type,
    *,
    positional: bool = False,
    processes: bool = False,
) -> None:
    """Parses the command line into a config and calls `main(config)`.

    With `positional`, `main(config, arguments)` also gets what is no flag. With `processes`, the
    program can be one of several that train one network.

    With `--resume`, flags that are not on the command line take the values of the run that is
    resumed, from `config.json` in `--workdir`.

    Exits with 0 after success and `--help`, 2 for wrong input, 1 for a run that cannot go on, and as
    a shell counts after a signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """
    process.prepare()
    # For --help; under `python -OO` there are no docstrings.
    sys.modules["__main__"].__doc__ = sys.modules[main.__module__].__doc__
    for field in dataclasses.fields(config_class):
        _define(field)
    flags.DEFINE_string(
        "compilation_cache",
        AUTO,
        "folder of compiled programs, for later runs; auto: the user's cache folder; none if empty",
    )

    if processes:
        several.define_flags()

    def program(arguments: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Orbax reports every save
        with _sentences():
            process.raise_on_ctrl_c()
            use_compilation_cache(flags.FLAGS.compilation_cache)
            if processes:
                several.join_as_flags_say()
            if positional:
                main(_config(config_class), arguments[1:])
            elif arguments[1:]:
                raise InputError(
                    f"unexpected argument {arguments[1]!r}; options are written --name=value."
                )
            else:
                main(_config(config_class))
        process.leave_on_ctrl_c()

    with _sentences():
        try:
            app.run(program, flags_parser=_parse)
        finally:
            sys.stdout.flush()


def _parse(arguments: list[str]) -> list[str]:
    """absl's parser, but for its exit codes: it ends with 1 after --help and for wrong flags."""
    try:
        return flags.FLAGS(arguments)
    except UnicodeDecodeError as error:
        raise InputError(f"a file of flags is not UTF-8 text: {error.reason}.") from error
    except (flags.Error, ValueError) as error:
        raise InputError(str(error).removeprefix("ERROR:: ").strip().rstrip(".") + ".") from error
    except SystemExit as end:
        sys.exit(0 if end.code == 1 else end.code)  # it has shown the help


@contextmanager
def _sentences() -> Iterator[None]:
    """Ends the program with one sentence for every error that is not a bug."""
    try:
        yield
    except (InputError, RunError) as error:
        _fail(str(error), 2 if isinstance(error, InputError) else 1)
    except Stopped as stop:
        _fail(str(stop), stop.code)
    except KeyboardInterrupt:
        _fail("interrupted.", 130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(one_line(f"{where}{error.strerror or error}."), 1)
    except Exception as error:
        if several.has_lost_another(error):
            _fail(several.LOST, 1)
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            _fail("out of memory: choose smaller sizes.", 1)
        if _NO_BACKEND.search(str(error)):
            platforms = os.environ.get("JAX_PLATFORMS", "")
            reason = str(error).splitlines()[0].rstrip(".")
            _fail(one_line(f"JAX cannot start with JAX_PLATFORMS={platforms}: {reason}."), 2)
        several.leave_after(error)
        raise


def _fail(message: str, code: int) -> NoReturn:
    with suppress(OSError):
        print(f"error: {_with_flags(message)}", file=sys.stderr, flush=True)
    several.leave(code)
    sys.exit(code)


def _with_flags(message: str) -> str:
    """The library's sentences name arguments, `steps=3`; here they are flags, `--steps=3`."""
    for name in flags.FLAGS:
        message = re.sub(rf"(?<![-\w.]){re.escape(name)}=(True\b)?", _flag_for, message)
    return message


def _flag_for(argument: re.Match[str]) -> str:
    """`--resume` for `resume=True`, `--steps=` for `steps=`."""
    text = argument[0]
    return f"--{text.removesuffix('=True') if argument[1] else text}"


class _IntegerOrWord(flags.IntegerParser):
    """An integer, or a word that stands for one."""

    def __init__(self, words: Mapping[str, int]):
        super().__init__()
        self._words = words
        self.syntactic_help = f"an integer, or {' or '.join(words)}"

    def convert(self, argument: Any) -> int:
        if argument in self._words:
            return self._words[argument]
        try:
            return super().convert(argument)
        except (TypeError, ValueError) as error:
            raise ValueError(f"it is {self.syntactic_help}") from error


def _define(field: dataclasses.Field) -> None:
    name, help = field.name, field.metadata["help"]
    default: Any = field.default
    if field.metadata["check"]:
        flags.DEFINE_string(name, default, f"{help}; one of {', '.join(field.metadata['choices'])}")
    elif field.metadata["choices"]:
        flags.DEFINE_enum(name, default, list(field.metadata["choices"]), help)
    elif field.type is bool:
        flags.DEFINE_boolean(name, default, help)
    elif field.metadata["words"]:
        words = field.metadata["words"]
        parser = _IntegerOrWord(words)
        shown = next((word for word, value in words.items() if value == default), default)
        flags.DEFINE(parser, name, shown, help)
    elif field.type is int:
        flags.DEFINE_integer(name, default, help)
    elif field.type is float:
        flags.DEFINE_float(name, default, help)
    else:
        flags.DEFINE_string(name, default, help)


def _config(config_class: type) -> Any:
    names = [field.name for field in dataclasses.fields(config_class)]
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    if values.get("resume"):
        given = {name for name in names if flags.FLAGS[name].present}
        values |= _saved_config(config_class, values["workdir"], given)
        values["resume"] = True
    for field in dataclasses.fields(config_class):
        _check_range(f"--{field.name}", values[field.name])
        if field.metadata["check"]:
            field.metadata["check"](values[field.name])
    return config_class(**values)


def _saved_config(config_class: type, workdir: str, given: set[str]) -> dict[str, Any]:
    """The config of the run in a directory, but for the fields that the command line gives."""
    try:
        path = Path(workdir).expanduser() / "config.json"
        there = bool(workdir) and path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, nobody's home, a zero byte
        raise InputError(f"--workdir={workdir} is no path: {error}.") from error
    if not there:
        raise InputError(
            f"--resume needs the --workdir of an earlier run, got {workdir!r}"
            + (", which has no config.json." if workdir else ".")
        )
    saved = read_object(path)
    if isinstance(saved, dict):
        saved = {name: value for name, value in saved.items() if name not in given}
    return checked(config_class, saved, str(path))


def checked(config_class: type, saved: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of a config in a file, each of its type; fields of other versions are left out.

    Raises:
      InputError: if a value is not of its field's type, or is none of its choices, or is an
        integer that JAX could not count to.
    """
    if not isinstance(saved, dict):
        raise InputError(f"{where} must hold a JSON object, got {shown(saved)}.")
    values = {}
    for field in dataclasses.fields(config_class):
        if field.name not in saved or not field.metadata["from_file"]:
            continue
        value = saved[field.name]
        if field.type is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        kind: Any = field.type
        if type(value) is not kind:
            raise InputError(
                f"{field.name} in {where} must be {kind.__name__}, got {shown(value)}."
            )
        _check_range(f"{field.name} in {where}", value)
        if isinstance(value, str) and not _can_be_typed(value):
            raise InputError(f"{field.name} in {where} is no text, got {shown(value)}.")
        choices = field.metadata["choices"]
        if choices and value not in choices:
            if field.metadata["check"] and isinstance(value, str) and ":" in value:
                raise InputError(
                    f"{field.name} in {where} is {shown(value)}: code is not run because a file names it;"
                    f" give --{field.name} on the command line."
                )
            raise InputError(
                f"{field.name} in {where} must be one of {', '.join(choices)}, got {shown(value)}."
            )
        values[field.name] = value
    return values


def _check_range(name: str, value: Any) -> None:
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        raise InputError(f"{name} must lie within {LARGEST_INT} of 0, got {shown(value)}.")


def _can_be_typed(text: str) -> bool:
    """Whether the system takes it as an argument of a command, or as a path."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
