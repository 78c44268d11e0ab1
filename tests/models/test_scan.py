import builtins
import importlib
import io
import os
import pickle
import pkgutil
import subprocess
import sys
import warnings
import zipfile

import cloudpickle
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from lakewright.models.scan import findings, is_known

DRAW = np.random.default_rng(1)
X, Y = pd.DataFrame(DRAW.random((80, 2)), columns=["a", "b"]), DRAW.integers(0, 2, 80)


def found(body: bytes, path: str = "model.pkl") -> list[str]:
    return [finding.what for finding in findings(path, io.BytesIO(body))]


class Calls:
    """Pickles to a call of anything."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


ESTIMATORS = [
    RandomForestClassifier(3),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    KNeighborsClassifier(),
    CalibratedClassifierCV(LogisticRegression()),
    lightgbm.LGBMClassifier(n_estimators=2, verbose=-1),
    xgboost.XGBClassifier(n_estimators=2),
    make_pipeline(
        ColumnTransformer([("log", FunctionTransformer(np.log1p), ["a"]), ("one", OneHotEncoder(), ["b"])]),
        LogisticRegression(),
    ),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_ordinary_models_are_clean(estimator, protocol):
    assert found(cloudpickle.dumps(estimator.fit(X, Y), protocol)) == []


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("call", [os.system, eval, exec, subprocess.Popen, builtins.__import__, getattr, open, np.load])
def test_a_call_out_of_the_model_is_found_in_every_protocol(call, protocol):
    hostile = pickle.dumps([LogisticRegression().fit(X, Y), Calls(call, "x")], protocol)
    assert len(found(hostile)) == 1 and found(hostile)[0].startswith("imports ")


def test_code_pickled_by_value_is_found():
    assert any("cloudpickle" in what for what in found(cloudpickle.dumps(lambda x: x)))


HOSTILE = {
    "a name that is computed": b"\x80\x04\x8c\x02os\x8c\x06system\x86\x93.",
    "a name kept in the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x02id\x85R.",
    "an attribute of an attribute": b"\x80\x04\x8c\x05numpy\x8c\x09os.system\x93.",
    "an instance of protocol 0": b"(S'id'\nios\nsystem\n.",
    "a call before the bytes become nonsense": b"cos\nsystem\n(S'id'\ntR\xff\xff",
    "a second pickle after a clean one": pickle.dumps(1) + b"cos\nsystem\n(S'id'\ntR.",
    "an archive after the pickle": None,
    "a persistent id": b"Pwhatever\n.",
    "Popen by another of its names": b"cnumpy.distutils.fcompiler.gnu\nPopen\n(S'id'\ntR.",
    "a listener by another of its names": b"csklearn.callback._transport\nListener\n(tR.",
    "an empty file": b"",
    "bytes of no known format": bytes(range(256)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_tricks_are_found(name):
    body = HOSTILE[name]
    if body is None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("a.json", "{}")
        body = b"cos\nsystem\n(S'id'\ntR." + archive.getvalue()
    assert found(body)


@pytest.mark.parametrize("path", ["model.txt", "MLmodel", "notes.md", "weights.json"])
def test_a_pickle_that_looks_like_text_is_found_by_what_it_would_run(path):
    assert found(b"cos\nsystem\n(S'id'\ntR.", path) == ["imports os.system"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("MLmodel", b"flavors:\n  sklearn:\n    pickled_model: model.pkl\n"),
        ("requirements.txt", b"cloudpickle==3.1\nmlflow==3.17.2\nscikit-learn==1.9.1\n"),
        ("conda.yaml", b"channels:\n- conda-forge\ndependencies:\n- python=3.11\n"),
        ("model.lgb", b"tree\nversion=v4\nnum_class=1\n"),
        ("model.ubj", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"),
    ],
)
def test_what_every_model_carries_is_clean(path, body):
    assert found(body, path) == []


def test_an_archive_is_read_member_by_member():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("version.txt", "3")
        z.writestr("data.pkl", pickle.dumps(Calls(os.system, "id")))
    assert found(archive.getvalue(), "weights.pt") == ["data.pkl inside it: imports posix.system"]


def test_code_beside_the_model_is_a_finding():
    assert found(b"x = 1", "code/helpers.py") == ["carries code"]


HARMLESS = {
    "typing",
    "collections.abc",
    "collections",
    "abc",
    "numbers",
    "dataclasses",
    "math",
    "View.MemoryView",
    "_io",
    "enum",
    "?",
}


@pytest.mark.parametrize("library", ["sklearn", "lightgbm", "xgboost", "numpy"])
def test_no_known_name_leads_out_of_its_library(library):
    """A class that one of their modules merely re-exports would be importable under that module's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for found_module in pkgutil.walk_packages(importlib.import_module(library).__path__, library + "."):
            if is_known(found_module.name, "Anything") or library != "numpy":
                _try_import(found_module.name)
    out = [
        f"{home}.{attribute} through {name}"
        for name, module in list(sys.modules.items())
        if name == library or name.startswith(library + ".")
        for attribute, value in list(vars(module).items())
        if callable(value) and is_known(name, attribute)
        for home in [getattr(value, "__module__", None) or "?"]
        if home.split(".")[0] not in ("sklearn", "lightgbm", "xgboost", "numpy", "scipy") and home not in HARMLESS
    ]
    assert out == []


def _try_import(name: str) -> None:
    if any(
        part in name
        for part in (".tests", "conftest", "setup", ".spark", ".dask", "testing", ".f2py", "distutils", "_build")
    ):
        return
    try:
        importlib.import_module(name)
    except Exception:
        return  # an optional part whose own dependency is not installed
