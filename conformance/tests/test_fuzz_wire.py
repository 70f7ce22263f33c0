"""Anything at all, in the place of what a worker writes."""

import base64
import json

from fuzzing import ANYTHING, FUZZ, WORDS, a_line, understood
from hypothesis import given
from hypothesis import strategies as st

from bn1d_conformance.wire import protocol
from bn1d_conformance.wire.process import LostError
from bn1d_conformance.wire.session import Hello, RefusedError, Session, misfit

ARRAY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*protocol.DTYPES]) | ANYTHING,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | ANYTHING,
        "data": st.binary(max_size=24).map(lambda b: base64.b64encode(b).decode()) | ANYTHING,
    },
)
NAMES = sorted({name for kinds in protocol.ANSWERS.values() for name in kinds})
RESULTS = st.dictionaries(st.sampled_from(NAMES) | WORDS, ARRAY | ANYTHING, max_size=10)


@FUZZ
@given(line=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_line(line):
    a_line(line)


@FUZZ
@given(do=st.sampled_from([*protocol.ANSWERS]), result=RESULTS | ANYTHING)
def test_any_result(do, result):
    a_line(json.dumps({"id": 1, "result": result}).encode(), do)


HELLO = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from([0, 1]) | ANYTHING,
        "name": WORDS,
        "version": WORDS,
        "language": WORDS,
        "capabilities": st.lists(st.sampled_from([*protocol.WIRED]) | WORDS, max_size=5),
    },
    optional={
        "homepage": WORDS,
        "dialect": st.dictionaries(st.sampled_from(["running_var", "names"]) | WORDS, WORDS),
        "names": st.dictionaries(st.sampled_from(["weight", "bias"]) | WORDS, WORDS),
        "device": WORDS,
    },
)


@FUZZ
@given(result=HELLO)
def test_any_hello(result):
    found = understood(protocol.result, "hello", {"result": result})
    if found:
        assert all(isinstance(word, str) for word in misfit(Hello(**found), "cpu") or ())


#: Those that take more than a message, those that are no errors, and words that are neither.
KINDS = (
    st.sampled_from(["UnicodeDecodeError", "UnicodeEncodeError", "ExceptionGroup", "OSError"])
    | st.sampled_from(["BaseExceptionGroup", "KeyboardInterrupt", "SystemExit", "StopIteration"])
    | st.sampled_from(["ValueError", "RuntimeError", "int", "__name__", "a b"])
)


@FUZZ
@given(
    given_=st.fixed_dictionaries(
        {"type": KINDS | WORDS, "message": WORDS},
        optional={"bases": st.lists(KINDS | WORDS, max_size=3)},
    )
    | ANYTHING
)
def test_any_error(given_):
    session = Session("worker", "cpu")
    try:
        error = understood(session._raised, given_)
    except LostError:  # it says that its device is gone
        return
    assert error is None or isinstance(error, RefusedError)
    assert error is None or isinstance(error.error, BaseException)
