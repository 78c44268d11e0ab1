"""dbutils in this process, against the small server."""

import pytest

from lakewright.runtime import rest
from lakewright.runtime.dbutils import DBUtils, NotebookExit, NotHere
from lakewright.runtime.widgets import InputWidgetNotDefined

from .conftest import Small


def test_a_jobs_value_wins_over_the_widgets_default() -> None:
    dbutils = DBUtils({"year": 2013, "dry": True})
    dbutils.widgets.text("year", "1999")
    dbutils.widgets.dropdown("kind", "a", ["a", "b"])
    assert (dbutils.widgets.get("year"), dbutils.widgets.get("dry"), dbutils.widgets.get("kind")) == (
        "2013",
        "true",
        "a",
    )
    assert dbutils.widgets.getAll() == {"year": "2013", "dry": "true", "kind": "a"}
    with pytest.raises(InputWidgetNotDefined, match="nope"):
        dbutils.widgets.get("nope")
    with pytest.raises(ValueError, match="none of its choices"):
        dbutils.widgets.dropdown("kind", "z", ["a", "b"])


def test_task_values_within_a_job(platform_env: Small) -> None:
    values = DBUtils().jobs.taskValues
    values.set("auc", 0.9)
    assert values.get("me", "auc") == 0.9
    assert values.get("me", "none", default=1) == 1
    with pytest.raises(ValueError, match="no value 'none'"):
        values.get("me", "none")


def test_task_values_outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAKEWRIGHT_TASK", raising=False)
    values = DBUtils().jobs.taskValues
    values.set("auc", 0.9)
    assert values.get("train", "auc", debugValue=0.5) == 0.5
    with pytest.raises(TypeError, match="debugValue"):
        values.get("train", "auc")


def test_secrets(platform_env: Small) -> None:
    platform_env.secrets["vault", "key"] = b"value"
    assert DBUtils().secrets.get("vault", "key") == "value"
    assert DBUtils().secrets.getBytes("vault", "key") == b"value"
    with pytest.raises(rest.Refused, match="no such secret"):
        DBUtils().secrets.get("vault", "other")


def test_files_of_a_volume(platform_env: Small) -> None:
    fs = DBUtils().fs
    fs.put("/Volumes/main/air/raw/note.txt", "hello", overwrite=True)
    assert fs.head("dbfs:/Volumes/main/air/raw/note.txt", 4) == "hell"
    assert [(one.name, one.size) for one in fs.ls("/Volumes/main/air/raw")] == [("note.txt", 5)]
    fs.cp("/Volumes/main/air/raw/note.txt", "/Volumes/main/air/raw/copy of.txt")
    fs.rm("/Volumes/main/air/raw/note.txt")
    assert [one.name for one in fs.ls("/Volumes/main/air/raw")] == ["copy of.txt"]
    with pytest.raises(NotHere, match="/Volumes"):
        fs.ls("/etc")


def test_what_is_not_there_says_its_name() -> None:
    dbutils = DBUtils()
    for ask, name in (
        (lambda: dbutils.credentials.assumeRole("x"), "credentials"),
        (lambda: dbutils.fs.mount("s3://x", "/mnt"), "fs.mount"),
        (lambda: dbutils.library.restartPython(), "restartPython"),
        (lambda: dbutils.notebook.run("./x", 60), "notebook.run"),
    ):
        with pytest.raises(NotHere, match=name):
            ask()


def test_an_exit_carries_its_value() -> None:
    with pytest.raises(NotebookExit) as left:
        DBUtils().notebook.exit(42)
    assert left.value.value == "42"


def test_a_script_asks_for_the_jobs_parameters_by_name() -> None:
    from lakewright.runtime.surroundings import widgets_of

    assert widgets_of({"parameters": ["--year", "2013"], "job_parameters": {"year": "2013"}}) == {"year": "2013"}
    assert widgets_of({"parameters": {"year": "2012"}, "job_parameters": {"year": "2013"}}) == {"year": "2012"}
    assert widgets_of({}) == {}
