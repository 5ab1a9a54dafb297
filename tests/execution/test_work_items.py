from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtpipeline.errors import TransientError
from rtpipeline.execution import work_items
from rtpipeline.execution.work_items import run_items
from tests.execution import items
from tests.execution.items import act, square

LONG_S = 120.0
"""a limit that no item of these tests reaches, also on a busy machine"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items_whatever_the_workers(workers: int) -> None:
    numbers = {f"n{i}": i for i in (5, 3, 9, 1, 7)}
    found = run_items(square, numbers, workers=workers, timeout_s=LONG_S)
    assert list(found) == list(numbers)
    assert {name: r.value for name, r in found.items()} == {name: n * n for name, n in numbers.items()}
    assert {r.status for r in found.values()} == {"ok"}


def test_no_items_need_no_worker() -> None:
    assert run_items(square, {}, workers=2, timeout_s=LONG_S) == {}


def test_a_hanging_item_is_lost_alone_at_its_limit() -> None:
    began = time.monotonic()
    found = run_items(act, {"a": "ok", "b": "hang", "c": "ok", "d": "ok"}, workers=1, timeout_s=2.0)
    assert {name: r.status for name, r in found.items()} == {"a": "ok", "b": "timeout", "c": "ok", "d": "ok"}
    assert found["b"].reason.endswith("limit 2 s") and found["b"].value is None
    assert 2.0 <= found["b"].seconds < 60
    assert time.monotonic() - began < LONG_S


@pytest.mark.parametrize(
    ("order", "status", "reason"),
    [
        ("raise", "failed", "ValueError at items.py:"),
        ("crash", "failed", "its process ended with signal SIGSEGV"),
        ("memory", "out_of_memory", "MemoryError"),
        ("bad_alloc", "out_of_memory", "RuntimeError of an allocation"),
        ("kill", "out_of_memory", "its process ended with signal SIGKILL"),
        ("hog", "out_of_memory", "MemoryError"),
    ],
)
def test_an_item_that_ends_badly_costs_no_other(order: str, status: str, reason: str) -> None:
    found = run_items(act, {"a": "ok", "b": order, "c": "ok"}, workers=1, timeout_s=LONG_S)
    assert [r.status for r in found.values()] == ["ok", status, "ok"]
    assert found["b"].reason.startswith(reason)


def test_an_item_for_which_a_worker_has_no_memory_when_it_arrives_died_of_memory(capfd) -> None:
    found = run_items(square, {"a": 2, "b": items.Huge(), "c": 3}, workers=1, timeout_s=LONG_S)
    assert [r.status for r in found.values()] == ["ok", "out_of_memory", "ok"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_reason_never_quotes_the_values_of_an_error() -> None:
    assert "Doe" not in run_items(act, {"a": "raise"}, workers=1, timeout_s=LONG_S)["a"].reason


def test_items_that_die_of_memory_side_by_side_are_tried_again_down_to_one_at_a_time(tmp_path: Path) -> None:
    folder, notes = tmp_path / "alive", tmp_path / "notes"
    folder.mkdir()
    orders = {f"big{i}": f"lone:{folder}" for i in range(3)} | {"small": f"note:{notes}"}
    found = run_items(act, orders, workers=4, timeout_s=LONG_S)
    assert {r.status for r in found.values()} == {"ok"}, found
    assert notes.read_text() == "x", "a finished item is not computed again"


def test_an_item_that_has_no_memory_even_alone_is_given_up() -> None:
    found = run_items(act, {"a": "kill", "b": "ok", "c": "kill"}, workers=3, timeout_s=LONG_S)
    assert [r.status for r in found.values()] == ["out_of_memory", "ok", "out_of_memory"]


def test_threads_are_set_before_a_library_can_start_them() -> None:
    assert run_items(act, {"a": "ok"}, workers=1, timeout_s=LONG_S, threads=3)["a"].value == "ok in 3 threads"


def test_the_kernel_takes_a_worker_before_its_stage() -> None:
    found = run_items(act, {"a": "badness"}, workers=1, timeout_s=LONG_S)["a"].value
    assert found is not None and int(found) > 500


def test_a_function_that_cannot_be_loaded_is_no_fault_of_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_items, "START_LIMIT_S", 20.0)
    lost = type(items)("lost_module")
    exec("def gone(item): return item", lost.__dict__)
    monkeypatch.setitem(sys.modules, "lost_module", lost)
    lost.gone.__module__ = "lost_module"
    with pytest.raises(TransientError, match="cannot be started"):
        run_items(lost.gone, {"a": 1}, workers=1, timeout_s=LONG_S)


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    program = (
        "from tests.execution.items import pid_then_hang\n"
        "from rtpipeline.execution.work_items import run_items\n"
        f"run_items(pid_then_hang, {{'a': {str(file)!r}}}, workers=1, timeout_s=600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        _until(lambda: file.is_file() and bool(file.read_text()))
    finally:
        parent.kill()
        parent.wait()
    worker = int(file.read_text())
    _until(lambda: not _is_running(worker))


def test_ctrl_c_ends_the_workers_too(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.execution.items import pid_then_hang\n"
        "from rtpipeline.execution.work_items import run_items\n"
        f"try: run_items(pid_then_hang, {{'a': {str(file)!r}}}, workers=1, timeout_s=600)\n"
        "except KeyboardInterrupt: raise SystemExit(130)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        _until(lambda: file.is_file() and bool(file.read_text()))
        parent.send_signal(signal.SIGINT)
        assert parent.wait(30) == 130
    finally:
        parent.kill()
        parent.wait()
    assert not _is_running(int(file.read_text()))


def _until(condition: object, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
