"""Agent-written code under hidden inputs: generators to `yield from` inside a `grade` that is one.

```python
@staticmethod
def grade(evidence, gold):
    cases = [((text,), wrap(text)) for text in texts(evidence.rng())]
    right = yield from returns(evidence.files("shell/"), "textkit/wrap.py", "wrap", cases)
    return Score.all(right=right)
```
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from envkit.data.probe import Probe, Reply, SubjectCall, SubjectRun
from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit.data.task import Blob
from envkit_validators._json import Expected, canonical, difference, expectation, trouble
from envkit_validators._show import plain, show, unreadable

Files: TypeAlias = "Mapping[str, str | bytes | Blob | Malformed]"
Case: TypeAlias = "tuple[Sequence[object], object]"
"""Arguments of a call, and what it must return."""
Asking: TypeAlias = "Generator[Sequence[Probe], list[Reply], Check]"
Form: TypeAlias = "Callable[[object, object], Check]"
"""What must hold of an input and its encoded form."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where and how calls run."""

    seconds: float = 5.0  # for each call
    image: str | None = None
    # one process for all calls: faster, but the subject sees one input after another
    batch: bool = False


def returns(
    files: Files, module: str, function: str, cases: Sequence[Case], *, slot: Slot = Slot()
) -> Asking:
    """Every case's arguments give what is expected, in type and content; `Near` may stand in it.

    All or nothing: a constant is right in some cases of most functions.

    Args:
        files: The agent's files, as from `evidence.files("shell/")`.
        module: The path of the module among them.
        function: What to call in it.
        cases: Arguments and expected value of each call: hidden, drawn from `evidence.rng()`.
        slot: Deadline and image, and whether calls may share a process.

    Raises:
        ValueError: fewer than two different expected values (a constant function would pass), or
            arguments or expectations that are no finite JSON.
    """
    calls = [(_arguments(given), expectation(want, "returns: a case")) for given, want in cases]
    _varied("returns needs two different expected values", [want for _, want in calls])
    broken = _broken(files, module)
    if broken:
        return broken
    agents = _frozen(files)
    replies = yield [_call(agents, module, function, given, slot) for given, _ in calls]
    whys = _compare(replies, [want for _, want in calls])
    return _verdict(f"{function} was called", whys, [given for given, _ in calls])


def round_trip(
    files: Files,
    module: str,
    pair: tuple[str, str],
    inputs: Sequence[object],
    *,
    form: Form,
    slot: Slot = Slot(),
) -> Asking:
    """Decoding what was encoded gives the input back exactly; each call in a process of its own.

    A process that sees both sides could remember instead of encode, so `batch` is refused. The
    identity round-trips too, so `form` must say what an encoding is: shorter than its input, of
    some alphabet, ...

    Args:
        files: The agent's files, as from `evidence.files("shell/")`.
        module: The path of the module among them.
        pair: The functions that encode and decode; each takes one argument.
        inputs: What to encode: hidden, drawn from `evidence.rng()`.
        form: A check of each input and its encoding; the encoding may be any JSON value.
        slot: Deadline and image; `batch` must be off.

    Raises:
        ValueError: a slot with `batch`, fewer than two different inputs, or inputs that are no
            finite JSON.
    """
    if slot.batch:
        raise ValueError(
            "round_trip: a process that encodes and decodes could remember; batch is refused"
        )
    wanted = [expectation(value, "round_trip: an input", near=False) for value in inputs]
    _varied("round_trip needs two different inputs", wanted)
    broken = _broken(files, module)
    if broken:
        return broken
    agents = _frozen(files)
    encode, decode = pair
    replies = yield [_call(agents, module, encode, [value], slot) for value in wanted]
    codes = [reply.value() for reply in replies]
    whys = _encoded(wanted, codes, form)
    if any(whys):
        return _verdict(f"{encode} was called", whys, wanted)
    replies = yield [_call(agents, module, decode, [code], slot) for code in codes]
    return _verdict(f"{decode} was called", _compare(replies, wanted), codes)


def prints(
    files: Files, argv: Sequence[str], cases: Sequence[tuple[str, str]], *, slot: Slot = Slot()
) -> Asking:
    """A program prints the whole expected text for each hidden stdin, outer whitespace aside.

    Args:
        files: The agent's files, as from `evidence.files("shell/")`.
        argv: The command over those files, the same for all cases.
        cases: What is written to its stdin, and what it must print.
        slot: Deadline and image; runs never share a process, so `batch` is refused.

    Raises:
        ValueError: no command, a slot with `batch`, or fewer than two different expected texts.
    """
    if not argv or isinstance(argv, str) or slot.batch:
        raise ValueError("prints needs argv as a sequence of words, and a slot without batch")
    _varied("prints needs two different expected texts", [want.strip() for _, want in cases])
    broken = _broken(files, None)
    if broken:
        return broken
    agents = _frozen(files)
    run = {"files": agents, "argv": tuple(argv), "seconds": slot.seconds, "image": slot.image}
    replies = yield [SubjectRun.model_validate({**run, "stdin": given}) for given, _ in cases]
    whys = _all_replied(replies, len(cases))
    whys = whys or [
        _misprinted(r, want.strip()) for r, (_, want) in zip(replies, cases, strict=True)
    ]
    return _verdict("the program ran", whys, [given for given, _ in cases])


def _arguments(given: Sequence[object]) -> list[Expected]:
    if isinstance(given, str | bytes):
        raise ValueError(f"returns: arguments are a sequence; write ({given!r:.40},)")  # noqa: TRY004
    return [expectation(value, "returns: an argument", near=False) for value in given]


def _varied(need: str, wanted: Sequence[Expected]) -> None:
    if len({canonical(want) for want in wanted}) < 2:
        raise ValueError(f"{need}: a function that ignores its input would pass")


def _broken(files: Files, module: str | None) -> Check | None:
    """The check where there is nothing to run, which is the agent's doing."""
    for content in files.values():
        if isinstance(content, Malformed):
            return unreadable(content)
    if not files or (module is not None and module not in files):
        return failed(
            f"{show(module)} is missing from {len(files)} files" if module else "no files"
        )
    return None


def _frozen(files: Files) -> dict[str, str | Blob]:
    """The files as probes carry them; no `Malformed` is left among them."""
    return {
        name: Blob(data=x) if isinstance(x, bytes) else cast("str | Blob", x)
        for name, x in files.items()
    }


def _call(
    files: Mapping[str, str | Blob], module: str, function: str, given: Sequence[object], slot: Slot
) -> SubjectCall:
    return SubjectCall(
        files=files,
        module=module,
        function=function,
        arguments=tuple(given),
        seconds=slot.seconds,
        image=slot.image,
        batch=function if slot.batch else None,
    )


def _all_replied(replies: Sequence[Reply], asked: int) -> list[str]:
    """A reason where the host owes replies: then nothing was shown, and nothing is right."""
    return [] if len(replies) == asked else [f"{len(replies)} replies to {asked} probes"]


def _compare(replies: Sequence[Reply], wanted: Sequence[Expected]) -> list[str]:
    missing = _all_replied(replies, len(wanted))
    return missing or [_unlike(r.value(), want) for r, want in zip(replies, wanted, strict=True)]


def _unlike(value: object, want: Expected) -> str:
    if isinstance(value, Malformed):
        return plain(str(value))
    return trouble(value) or difference(value, want)


def _encoded(wanted: Sequence[Expected], codes: Sequence[object], form: Form) -> list[str]:
    if len(codes) != len(wanted):
        return [f"{len(codes)} replies to {len(wanted)} probes"]
    return [_misformed(value, code, form) for value, code in zip(wanted, codes, strict=True)]


def _misformed(value: Expected, code: object, form: Form) -> str:
    if isinstance(code, Malformed):
        return plain(str(code))
    check = form(value, code)
    return "" if check.passed else check.reason or f"{show(code)} is no encoding of {show(value)}"


def _misprinted(reply: Reply, want: str) -> str:
    if not reply.ok:
        return plain(reply.problem or f"status {reply.status}")
    text = reply.stdout.strip()
    return "" if text == want else f"saw {show(text)}, expected {show(want)}"


def _verdict(what: str, whys: Sequence[str], given: Sequence[object]) -> Check:
    wrong = [i for i, why in enumerate(whys) if why]
    if not wrong:
        return passed(f"{what}: {len(whys)} of {len(whys)} right")
    first = wrong[0]
    right = len(given) - len(wrong) if len(whys) == len(given) else 0
    return failed(f"{what}: {right} of {len(given)} right; for {show(given[first])}: {whys[first]}")
