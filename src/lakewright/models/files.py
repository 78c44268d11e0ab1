"""Version files: uploaded while the version is pending, then sealed for good, known by the digest of all of them."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from lakewright.kernel.faults import BadState, Invalid
from lakewright.models.scan import Finding, findings
from lakewright.storage.paths import PARTIAL

SOME_FILES = 10_000
MLMODEL_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Facts:
    digest: str
    described: dict[str, Any]


def pending(place: Path) -> Path:
    """Where a version's files lie until it is sealed. Uploads only ever go there."""
    return place.with_name(place.name + ".pending")


def prepare(place: Path) -> None:
    pending(place).mkdir(parents=True, mode=0o700)


def seal(place: Path) -> Facts:
    """Give the files a folder that no upload can reach, then read what they are. Repeatable after a crash.

    The folder itself cannot just be renamed: an upload on its way holds the folder open and would land in it under any
    name, after the digest was taken. So the files are linked into a new one, and the old one goes.
    """
    if not place.is_dir():
        _move(pending(place), place)
    shutil.rmtree(pending(place), ignore_errors=True)
    for each in _walk(place):
        each.chmod(0o400)
    described = describe(place)
    return Facts(digest(place), described)


def _move(source: Path, place: Path) -> None:
    sealing = place.with_name(place.name + ".sealing")
    shutil.rmtree(sealing, ignore_errors=True)
    sealing.mkdir(mode=0o700)
    if not source.is_dir():
        raise BadState("the version has no files to finalize")
    for each in _walk(source):
        target = sealing / each.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.link(each, target, follow_symlinks=False)
    os.rename(sealing, place)


def digest(place: Path) -> str:
    """One hash over the path, size and content hash of every file."""
    listed = [[str(path.relative_to(place)), path.stat().st_size, _hash(path)] for path in _walk(place)]
    return hashlib.sha256(orjson.dumps(sorted(listed))).hexdigest()


def scan(place: Path) -> list[Finding]:
    """What in the files is not known to be safe to load."""
    found: list[Finding] = []
    for path in _walk(place):
        with path.open("rb") as file:
            found += findings(str(path.relative_to(place)), file)
    return sorted(found)


def describe(place: Path) -> dict[str, Any]:
    """Signature, flavors and environment from the MLmodel file. Invalid if the version cannot be used by name and type."""
    model = _mlmodel(place)
    signature = _signature(model)
    return {
        "signature": signature,
        "flavors": sorted(_mapping(model, "flavors")),
        "mlflow_version": str(model.get("mlflow_version", "")),
        "logged_at": str(model.get("utc_time_created", "")),
        "environment": _environment(place),
    }


def _mlmodel(place: Path) -> dict[str, Any]:
    import yaml  # a tenth of the server's start otherwise

    path = place / "MLmodel"
    if not path.is_file() or path.stat().st_size > MLMODEL_BYTES:
        raise Invalid("the version has no MLmodel file: what was uploaded is not an MLflow model")
    try:
        model: Any = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("the version's MLmodel file is not valid YAML") from error
    if not isinstance(model, dict):
        raise Invalid("the version's MLmodel file is not a mapping")
    return model  # pyright: ignore[reportUnknownVariableType] (checked as far as each key is used)


def _signature(model: dict[str, Any]) -> dict[str, Any]:
    """Inputs and outputs as MLflow writes them: JSON texts inside the YAML."""
    given = _mapping(model, "signature")
    read: dict[str, Any] = {}
    for part in ("inputs", "outputs", "params"):
        text = given.get(part)
        try:
            read[part] = orjson.loads(text) if isinstance(text, str) else None
        except orjson.JSONDecodeError as error:
            raise Invalid(f"the signature's {part} are not valid JSON") from error
    if not read["inputs"] or not read["outputs"]:
        raise Invalid(
            "a registered version needs a signature with both inputs and outputs (mlflow.models.infer_signature)"
        )
    return read


def _mapping(model: dict[str, Any], key: str) -> dict[str, Any]:
    value = model.get(key)
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _environment(place: Path) -> dict[str, Any]:
    """What must be installed to load it, as the model itself says."""
    requirements = place / "requirements.txt"
    python = place / "python_env.yaml"
    said: dict[str, Any] = {}
    if requirements.is_file() and requirements.stat().st_size < 2**20:
        lines = requirements.read_text(errors="replace").splitlines()
        said["requirements"] = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if python.is_file() and python.stat().st_size < 2**20:
        said["python"] = next(
            (line.partition(":")[2].strip() for line in python.read_text(errors="replace").splitlines()
             if line.startswith("python:")), "",
        )  # fmt: skip
    return said


def _walk(place: Path) -> Iterator[Path]:
    """Every file, in order. A link or a device among them is refused: it would be another file tomorrow."""
    count = 0
    for folder, inside, names in os.walk(place):
        inside.sort()
        for name in [*inside, *sorted(n for n in names if not n.startswith(PARTIAL))]:
            path = Path(folder, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise Invalid(f"{path.relative_to(place)} is not a plain file")
            if path.is_file():
                count += 1
                if count > SOME_FILES:
                    raise Invalid(f"a version may have {SOME_FILES} files")
                yield path


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
