"""Give each reader bytes that its branches lead to: `nox -s fuzz -- --atheris`.

    python conformance/tests/fuzz_bytes.py [SECONDS]             each reader in turn, for a minute
    python conformance/tests/fuzz_bytes.py READER [OPTION ...]   one, with options of libFuzzer

atheris starts from right files, changes them, and keeps what takes a branch that nothing took
before. A reader fails at the first input that it neither reads nor refuses in one sentence, or
that takes it ten seconds or a gigabyte; the input is then in build/fuzz/.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import atheris
import numpy as np
from safetensors.numpy import save

with atheris.instrument_imports(include=["bn1d_conformance"]):
    import fuzzing
    import test_reading

    from bn1d_conformance.wire import protocol

import conftest

FOUND = Path("build", "fuzz").resolve()
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1")
DOCUMENTS = (fuzzing.MANIFEST, fuzzing.VECTORS, fuzzing.ANSWERS, fuzzing.ARRAYS)
ASKED = (*protocol.ANSWERS,)
EXPECTED = b"""
[[expect]]
requirement = "STATS-2"
case = "momentum/*"
reason = "It is known."
url = "https://bn1d.example/1"
when = { profile = ["full", "deep"], device = "cuda*" }
"""


def encoded(document):
    return json.dumps(document).encode()


def a_result():
    """A results file of another suite, of which three requirements are enough."""
    whole = test_reading.WRONG
    rows = {ident: whole["requirements"][ident] for ident in ("STATS-1", "STATS-2", "EVAL-1")}
    counts = {**dict.fromkeys(whole["counts"], 0), "total": 3, "pass": 2, "fail": 1}
    kit = {**whole["kit"], "suite_hash": "0" * 16}
    return encoded({**whole, "kit": kit, "counts": counts, "requirements": rows})


def an_npz():
    with tempfile.TemporaryFile() as file:
        np.savez(file, a=np.arange(6, dtype="float32").reshape(2, 3), b=np.array(3))
        file.seek(0)
        return file.read()


def results_of(do):
    """A right answer to what is asked."""
    array = protocol.encode(np.arange(2, dtype="float32"))
    values = {"array": array, "count": 1, "text": "t", "words": ["train"], "table": {"eps": "2"}}
    kinds = protocol.ANSWERS[do].items()
    return {"id": 1, "result": {name: values[kind.rstrip("?")] for name, kind in kinds}}


def a_file(reader, name):
    """A reader of bytes, from a reader of a file of that name."""

    def read(content):
        path = Path(name)
        path.write_bytes(content)
        reader(path)

    return read


def a_document(content):
    """The first byte says which of the four it is."""
    documents, which = list(DOCUMENTS), content[:1] or b"\0"
    documents[which[0] % len(documents)] = content[1:]
    fuzzing.vectors_and_answers(fuzzing.folder_of(Path("vectors"), documents))


def a_line(content):
    """The first byte says what was asked."""
    fuzzing.a_line(content[1:], ASKED[(content[:1] or b"\0")[0] % len(ASKED)])


def a_target(content):
    fuzzing.a_target(content.decode("utf-8", "surrogateescape"))


NUMBERS = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.array([3])}
TARGETS = (b"layers.py:Right", b"json:decoder", b"torch-script", b"no/such.py", b"a..b:c")
#: By its name: a reader of bytes, and what it starts from.
READERS = {
    "target": (a_target, TARGETS),
    "results": (a_file(fuzzing.a_results_file, "r.json"), [a_result()]),
    "expectations": (a_file(fuzzing.an_expectations_file, "known.toml"), [EXPECTED]),
    "vectors": (a_document, [bytes([k]) + encoded(d) for k, d in enumerate(DOCUMENTS)]),
    "json": (a_file(fuzzing.a_table_of_arrays, "a.json"), [encoded(fuzzing.ARRAYS)]),
    "npz": (a_file(fuzzing.a_table_of_arrays, "a.npz"), [an_npz()]),
    "safetensors": (a_file(fuzzing.a_table_of_arrays, "a.safetensors"), [save(NUMBERS)]),
    "wire": (a_line, [bytes([k]) + encoded(results_of(do)) for k, do in enumerate(ASKED)]),
}


def lead(name, options):
    """Fuzz one reader in a folder of its own; atheris ends the process."""
    reader, seeds = READERS[name]
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("layers.py").write_text(dedent(conftest.SUBJECTS), "utf-8")
        Path("seeds").mkdir()
        for k, seed in enumerate(seeds):
            Path("seeds", str(k)).write_bytes(seed)
        kept = f"-artifact_prefix={FOUND}/{name}-"
        most = f"-max_len={2 * max(map(len, seeds))}"
        atheris.Setup([sys.argv[0], *LIMITS, most, kept, *options, "seeds"], reader)
        atheris.Fuzz()


def main(words):
    if words and words[0] in READERS:
        lead(words[0], words[1:])
    seconds = int(words[0]) if words else 60
    bad = []
    for name in READERS:
        print(f"{name}:", flush=True)
        command = [sys.executable, __file__, name, f"-max_total_time={seconds}"]
        if subprocess.run(command, check=False).returncode:
            bad.append(name)
    sys.exit(f"Look into {FOUND}: {', '.join(bad)}." if bad else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
