"""The warm environment: everything that is imported ahead, and what every task of it still has for itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lakewright.engines.local import Environment, LocalLauncher, confine
from lakewright.engines.processes import LaunchFault, Limits, TaskSpec

from .conftest import Tasks


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tasks]:
    home = tmp_path_factory.mktemp("warm")
    launcher = LocalLauncher(home / "attempts")
    yield Tasks(launcher, home)
    launcher.close()


def test_importing_the_libraries_ahead_starts_no_thread(warm: Tasks) -> None:
    assert warm.launcher.ready().threads == 1


def test_the_libraries_are_there_and_work_confined(warm: Tasks) -> None:
    ran = warm.run(
        """
        import sys
        loaded = set(sys.modules)
        import pandas as pd, duckdb, numpy as np
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import cross_val_score
        print({"pandas", "sklearn.ensemble", "pyarrow", "duckdb"} <= loaded)
        frame = pd.DataFrame({"x": np.arange(200) % 7, "y": np.arange(200) % 2})
        frame.to_parquet("frame.parquet")
        print(duckdb.sql("select count(*) from 'frame.parquet'").fetchall()[0])
        forest = RandomForestClassifier(20, n_jobs=2, random_state=0)
        print(cross_val_score(forest, frame[["x"]], frame.y, cv=3, n_jobs=2).shape)
        import lightgbm
        print(lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame[["x"]], frame.y).n_features_)
        """
    )
    assert ran.out == "True\n(200,)\n(3,)\n1\n", ran


def test_two_forks_do_not_roll_the_same_dice(warm: Tasks) -> None:
    roll = "import random, numpy; print(random.random(), numpy.random.rand())"
    assert not set(warm.run(roll).out.split()) & set(warm.run(roll).out.split())


def test_a_program_is_run_as_well_as_a_script(warm: Tasks) -> None:
    spec = warm.spec("", entry=None, argv=("sh", "-c", "echo $0 $GREETING; exit 7"), env={"GREETING": "hello"})
    warm.launcher.start(spec)
    ran = warm.outcome(spec.attempt)
    assert (ran.out, ran.exit.code) == ("sh hello\n", 7)


def test_a_program_that_is_not_there(warm: Tasks) -> None:
    spec = warm.spec("", entry=None, argv=("no-such-program",))
    warm.launcher.start(spec)
    ran = warm.outcome(spec.attempt)
    assert ran.exit.code == 126
    assert "no-such-program" in ran.err or "No such file" in ran.err


def test_subprocesses_and_process_pools_of_a_task(warm: Tasks) -> None:
    ran = warm.run(
        """
        import multiprocessing, subprocess, sys
        def double(connection, n): connection.send(2 * n)
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                here, there = multiprocessing.get_context(method).Pipe()
                process = multiprocessing.get_context(method).Process(target=double, args=(there, 4))
                process.start(); there.close(); print(here.recv()); process.join()
            print(subprocess.run([sys.executable, "-c", "import pandas; print(pandas.__name__)"], capture_output=True, text=True).stdout, end="")
        """
    )
    assert ran.out == "8\n8\npandas\n", ran


needs_shared_memory = pytest.mark.skipif(
    not confine.can_own_shared_memory(),
    reason="no mount namespaces here: /dev/shm stays closed to tasks, joblib is serial",
)


@needs_shared_memory
def test_pools_of_threads_and_processes(warm: Tasks) -> None:
    ran = warm.run(
        """
        import multiprocessing, os
        from multiprocessing.pool import ThreadPool
        if __name__ == "__main__":
            print(os.listdir("/dev/shm"))
            with ThreadPool(2) as threads, multiprocessing.get_context("fork").Pool(2) as processes:
                print(threads.map(abs, [-1, -2]), processes.map(abs, [-3, -4]))
            open("/dev/shm/lakewright-seen", "w").write("mine")
        """
    )
    assert ran.out == "[]\n[1, 2] [3, 4]\n", ran
    assert not Path("/dev/shm/lakewright-seen").exists()


@needs_shared_memory
def test_what_scikit_learn_does_in_parallel_is_done_in_threads(warm: Tasks) -> None:
    ran = warm.run(
        """
        import threading, time
        from joblib import Parallel, delayed
        from sklearn.utils.parallel import Parallel as SklearnParallel, delayed as sklearn_delayed
        def where(n): time.sleep(0.05); return threading.current_thread().name
        print(len(set(Parallel(n_jobs=2)(delayed(where)(n) for n in range(8)))))
        print(len(set(SklearnParallel(n_jobs=2)(sklearn_delayed(where)(n) for n in range(8)))))
        """
    )
    assert ran.out == "2\n2\n", ran


def test_exit_handlers_run_and_threads_are_waited_for(warm: Tasks) -> None:
    ran = warm.run(
        """
        import atexit, threading, time
        atexit.register(print, "handler")
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        print("main")
        """
    )
    assert ran.out == "main\nthread\nhandler\n"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("import sys; sys.exit(3)", 3),
        ("raise SystemExit('why')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(9)", 9),
    ],
)
def test_the_exit_code_is_the_scripts(warm: Tasks, ending: str, code: int) -> None:
    assert warm.run(ending).exit.code == code


def test_a_traceback_shows_the_task_and_not_the_platform(warm: Tasks) -> None:
    ran = warm.run("def f():\n    return 1 / 0\nf()\n")
    assert ran.err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert 'task.py", line 2, in f' in ran.err
    assert "lakewright" not in ran.err


def test_a_script_is_main(warm: Tasks) -> None:
    ran = warm.run(
        """
        import sys, __main__, pickle, beside
        class Model: pass
        print(__name__, __file__, sys.argv[1:], type(pickle.loads(pickle.dumps(Model()))) is __main__.Model, beside.word)
        """,
        argv=("task.py", "--year", "2013"),
    )
    assert "ModuleNotFoundError: No module named 'beside'" in ran.err
    spec = warm.spec(
        "import beside, sys; print(beside.word, sys.argv[1:], __name__)", argv=("task.py", "--year", "2013")
    )
    (spec.workdir / "beside.py").write_text("word = 'found'")
    warm.launcher.start(spec)
    assert warm.outcome(spec.attempt).out == "found ['--year', '2013'] __main__\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempt": "../up"},
        {"attempt": ".hidden"},
        {"environment": "none"},
        {"readable": (Path("relative"),)},
        {"entry": None, "argv": ()},
    ],
)
def test_a_task_that_makes_no_sense_is_not_started(warm: Tasks, wrong: dict[str, object]) -> None:
    with pytest.raises(LaunchFault):
        warm.start("print()", **wrong)


def test_no_task_gets_a_folder_that_holds_all_the_others(warm: Tasks) -> None:
    for path in (warm.home, warm.home / "attempts", Path("/")):
        with pytest.raises(LaunchFault, match="no task may have it"):
            warm.start("print()", readable=(path,))


def test_an_environment_without_a_library_still_serves(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path / "attempts", {"default": Environment(preload=("no_such_library", "json"))})
    assert launcher.ready().missing == ("no_such_library",)
    assert Tasks(launcher, tmp_path).run("print('fine')", limits=Limits()).out == "fine\n"
    launcher.close()


def test_a_broken_environment_says_so(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path / "attempts", {"default": Environment(python="/bin/false")})
    with pytest.raises(LaunchFault, match="log"):
        launcher.ready(within=5)
    spec = TaskSpec(attempt="a", argv=("true",), workdir=tmp_path / "a")
    try:
        launcher.start(spec)
    except LaunchFault:
        return
    assert launcher.poll("a") is None or launcher.poll("a").reason == "lost"
