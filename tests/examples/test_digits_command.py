"""`flambeau demo` as a person runs it: to its end, stopped midway, continued, and misused."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

import flambeau
from flambeau.__main__ import main
from flambeau.examples.digits import command, data
from flambeau.examples.digits.errors import DemoError
from flambeau.examples.digits.model import DigitNet

pytest.importorskip("rich")
pytest.importorskip("PIL")


@pytest.fixture(scope="module", autouse=True)
def _digits():
    try:
        data.find_digits()
    except DemoError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch):
    monkeypatch.setattr(command, "QUICK_DIGITS", 200)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = flambeau.get_num_threads()
    yield
    flambeau.set_num_threads(before)


def demo(*arguments):
    return main(["demo", "--quick", *map(str, arguments)])


def start(*arguments):
    # Whoever runs the tests may ignore Ctrl-C, as a shell's background job does: not this process.
    heed = {} if sys.platform == "win32" else {"preexec_fn": _heed_interrupts}
    return subprocess.Popen(
        [sys.executable, "-m", "flambeau", "demo", "--quick", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **heed,
    )


def _heed_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_run_to_the_end(tmp_path, capsys):
    out = tmp_path / "made" / "on the way"
    assert demo("--out", out, "--threads", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert str(out) in lines[1]
    assert sum(line.startswith("epoch ") for line in lines) == command.QUICK_EPOCHS
    match = re.fullmatch(r"held-out accuracy (\d+\.\d\d) %", lines[-1])
    assert match
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint.pt", "model.pt", "report.html"]
    assert f"{match[1]}<small> %" in (out / "report.html").read_text(encoding="utf-8")
    assert flambeau.get_num_threads() == 1
    DigitNet().load_state_dict(flambeau.load(out / "model.pt"))


def test_the_file_is_pytorchs_too(tmp_path):
    torch = pytest.importorskip("torch")
    assert demo("--out", tmp_path, "--epochs", 1) == 0
    theirs = torch.load(tmp_path / "model.pt")
    ours = flambeau.load(tmp_path / "model.pt")
    assert list(theirs) == list(ours)
    for name, value in theirs.items():
        assert (value.numpy() == ours[name].numpy()).all(), name


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_that_goes_on(tmp_path, number, code):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = start("--out", stopped, "--epochs", 40)
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("epoch  1/"):
            process.send_signal(number)
            break
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "--resume" in rest
    assert not (stopped / "report.html").exists()
    done = len(flambeau.load(stopped / "checkpoint.pt")["history"])
    assert done >= 1

    for folder, extra in ((stopped, ["--resume"]), (whole, [])):
        process = start("--out", folder, "--epochs", done + 1, *extra)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert (f"{done} of {done + 1} epochs are done" in output) == bool(extra)
    a, b = (flambeau.load(folder / "model.pt") for folder in (stopped, whole))
    assert all(flambeau.equal(a[name], b[name]) for name in b)


def test_a_finished_run_may_be_prolonged(tmp_path, capsys):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    assert demo("--out", parts, "--epochs", 1) == 0
    assert demo("--out", parts, "--epochs", 2, "--resume") == 0
    assert demo("--out", whole, "--epochs", 2) == 0
    a, b = (flambeau.load(folder / "model.pt") for folder in (parts, whole))
    assert all(flambeau.equal(a[name], b[name]) for name in b)


def refused(capsys, *arguments):
    """Run the demo, expect it to fail, and return the one line that it says."""
    assert demo(*arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("flambeau demo: ")
    return lines[0]


def test_resume_without_a_checkpoint(tmp_path, capsys):
    assert "nothing to resume" in refused(capsys, "--out", tmp_path, "--resume")


def test_resume_from_a_damaged_checkpoint(tmp_path, capsys):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 and then nonsense")
    assert "cannot resume" in refused(capsys, "--out", tmp_path, "--resume")


def test_resume_with_other_settings(tmp_path, capsys):
    assert demo("--out", tmp_path, "--epochs", 2) == 0
    capsys.readouterr()
    said = refused(capsys, "--out", tmp_path, "--resume", "--batch-size", 16)
    assert "--batch-size 16" in said
    assert "64" in said
    assert "2 are already done" in refused(capsys, "--out", tmp_path, "--resume", "--epochs", 1)


def test_the_folder_is_a_file(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert str(path) in refused(capsys, "--out", path)
    assert str(path) in refused(capsys, "--out", path / "below")


@pytest.mark.parametrize("missing", ["rich", "PIL"])
def test_a_missing_extra(tmp_path, capsys, monkeypatch, missing):
    found = command.find_spec
    monkeypatch.setattr(command, "find_spec", lambda name: name != missing and found(name))
    assert 'pip install "flambeau[demo]"' in refused(capsys, "--out", tmp_path)


@pytest.mark.parametrize("bad", [["--epochs", "0"], ["--batch-size", "-1"], ["--threads", "x"]])
def test_bad_numbers(bad, capsys):
    with pytest.raises(SystemExit) as caught:
        demo(*bad)
    assert caught.value.code == 2
    assert "whole number of 1 or more" in capsys.readouterr().err


def test_help_lists_the_options(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for option in (
        "--epochs",
        "--batch-size",
        "--seed",
        "--threads",
        "--out",
        "--quick",
        "--resume",
    ):
        assert option in shown
