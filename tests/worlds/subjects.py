"""Graders that ask about agent-written code, one kind of question each."""

from random import Random

from envkit import (
    Ask,
    Config,
    Env,
    Evidence,
    Score,
    SubjectCall,
    SubjectRun,
    Task,
    Terminal,
    Tests,
)


class Kind(Config):
    kind: str = "double"


class Subjects(Env):
    """Write code.py."""

    Config = Kind
    config = Kind()
    shell = Terminal()
    evidence = [shell.files("**/*.py")]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        return Task(prompt="Write code.py.", gold={"kind": cls.config.kind})

    @staticmethod
    def grade(evidence: Evidence, gold: dict):
        return globals()[f"grade_{gold['kind']}"](evidence)


def grade_double(evidence: Evidence):
    """code.double(n) doubles, on hidden inputs drawn with the episode's nonce; exact types."""
    rng = evidence.rng()
    inputs = [rng.randint(-1000, 1000) for _ in range(6)]
    replies = yield [
        SubjectCall(
            files=evidence.files("shell/"),
            module="code.py",
            function="double",
            arguments=(n,),
            seconds=2,
        )
        for n in inputs
    ]
    right = [
        type(reply.value()) is int and reply.value() == 2 * n
        for n, reply in zip(inputs, replies, strict=True)
    ]
    return Score.all(doubles=all(right))


def _codec(evidence: Evidence, batch: str | None):
    files = evidence.files("shell/")
    words = [f"word-{evidence.rng().randint(0, 10**9)}" for _ in range(3)]
    encoded = yield [
        SubjectCall(
            files=files, module="code.py", function="encode", arguments=(word,), batch=batch
        )
        for word in words
    ]
    tokens = [reply.value() for reply in encoded]
    if not all(isinstance(token, str) for token in tokens):
        return Score.all(round_trip=False)
    decoded = yield [
        SubjectCall(
            files=files, module="code.py", function="decode", arguments=(token,), batch=batch
        )
        for token in tokens
    ]
    return Score.all(round_trip=[reply.value() for reply in decoded] == words)


def grade_codec(evidence: Evidence):
    """encode and decode round-trip; a table in memory or on disk must not help."""
    return (yield from _codec(evidence, None))


def grade_batch(evidence: Evidence):
    """Two calls in one process may share state, where the grader opted in."""
    files = evidence.files("shell/")
    replies = yield [
        SubjectCall(files=files, module="code.py", function="count", batch="together")
        for _ in range(3)
    ]
    alone = yield [SubjectCall(files=files, module="code.py", function="count") for _ in range(2)]
    return Score.all(
        shared=[reply.value() for reply in replies] == [1, 2, 3],
        alone=[r.value() for r in alone] == [1, 1],
    )


def grade_run(evidence: Evidence):
    """code.py reads a number from stdin and prints its double."""
    (reply,) = yield [
        SubjectRun(
            files=evidence.files("shell/"), argv=("python3", "code.py"), stdin="21\n", seconds=5
        )
    ]
    return Score.all(doubles=reply.ok and reply.stdout == "42\n")


def grade_tests(evidence: Evidence):
    """Tests of the grader's own, in a fresh slot."""
    test = "import code as c, sys\nsys.exit(0 if c.double(4) == 8 else 1)\n"
    files = {"code.py": evidence.files("shell/").get("code.py", b""), "check.py": test}
    (reply,) = yield [Tests(files=files, argv=("python3", "check.py"))]
    return Score.all(passed=reply.ok)


def grade_ask(evidence: Evidence):
    """A model may lower a score of 1, and may not raise one of 0."""
    yield [Ask(model="judge", rubric="Is it polite?", material=evidence.answer, seconds=5)]
    return Score.all(spoke=evidence.answer != "rude")
