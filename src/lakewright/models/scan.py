"""Safe files: what loading a model would run, read from the bytes without loading anything.

A pickle is a program. Scanners that know the bad imports are a race that the attacker runs last, so this one knows the
good ones: classes of the numerical libraries and the few functions that rebuild arrays. Whatever else a pickle would
import, and whatever cannot be read to its end (other archives, unknown binary formats), is a finding, and a finding
fails the gate unless the release policy trusts it by name.
"""

import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

KNOWN = re.compile(
    r"""
    lightgbm\.(basic\.Booster | sklearn\.LGBM\w+)
    | xgboost\.(core\.Booster | sklearn\.XGB\w+)
    | catboost\.core\.CatBoost\w*
    | numpy\.random\.(_mt19937\.MT19937 | _pcg64\.PCG64\w* | _philox\.Philox | _sfc64\.SFC64 | mtrand\.RandomState
                      | _generator\.Generator | bit_generator\.SeedSequence)
    | numpy\.ma\.core\.(MaskedArray | MaskedConstant)
    | numpy\.[\w.]+\.__pyx_unpickle_\w+
    | pandas\.core\.(frame\.DataFrame | series\.Series | indexes\.[\w.]+\.\w*Index | internals\.[\w.]+\.\w*(Manager|Block)
                     | arrays\.[\w.]+\.\w+Array | dtypes\.dtypes\.\w+Dtype)
    | scipy\.sparse\._\w+\.(csr|csc|coo|bsr|dia|lil|dok)_(matrix|array)
    | scipy\.interpolate\._\w+\.(BSpline|PPoly|CubicSpline|Akima1DInterpolator|PchipInterpolator|interp1d|UnivariateSpline)
    | sklearn\.(calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy
               |ensemble|feature_extraction|feature_selection|gaussian_process|impute|isotonic|kernel_approximation
               |kernel_ridge|linear_model|manifold|mixture|multiclass|multioutput|naive_bayes|neighbors|neural_network
               |pipeline|preprocessing|random_projection|semi_supervised|svm|tree)(\.\w+)*\._?(?!Parallel$)[A-Z]\w+
    | sklearn\._loss\.(_loss|link|loss)\.\w+
    | sklearn\.metrics\._dist_metrics\.\w+
    | sklearn\.neighbors\._(kd|ball)_tree\.newObj
    | sklearn\.(tree|svm|utils|cluster|linear_model)[\w.]*\.__pyx_unpickle_\w+
    | sklearn\.utils\.(_bunch\.Bunch | _random\.\w+ | _metadata_requests\.\w*Request)
    """,
    re.VERBOSE,
)
"""Classes that hold numbers, by full name. A looser rule would not do: a class re-exported by one of their modules
(`numpy.distutils…Popen`, `sklearn.callback…Listener`) is importable by that name too. tests/models checks that no name
let through leads out of its library."""

EXACTLY = frozenset(
    [
        "_codecs.encode",
        "builtins.bool",
        "builtins.bytearray",
        "builtins.bytes",
        "builtins.complex",
        "builtins.dict",
        "builtins.float",
        "builtins.frozenset",
        "builtins.int",
        "builtins.list",
        "builtins.object",
        "builtins.range",
        "builtins.set",
        "builtins.slice",
        "builtins.str",
        "builtins.tuple",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "functools.partial",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.core.numeric._frombuffer",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.abs",
        "numpy.cos",
        "numpy.exp",
        "numpy.expm1",
        "numpy.log",
        "numpy.log10",
        "numpy.log1p",
        "numpy.log2",
        "numpy.sin",
        "numpy.sqrt",
        "numpy.square",
        "numpy.tan",
        "numpy.tanh",
        "numpy.bool",
        "numpy.float32",
        "numpy.float64",
        "numpy.int8",
        "numpy.int16",
        "numpy.int32",
        "numpy.int64",
        "numpy.uint8",
        "numpy.uint32",
        "pandas._libs.internals._unpickle_block",
        "pandas.core.indexes.base._new_Index",
        "sklearn.tree._tree.Tree",
    ]
)

TEXT = frozenset({".json", ".yaml", ".yml", ".txt", ".md", ".csv", ".toml", ".html", ".lgb", ".model", ""})
DATA = {
    ".ubj": b"{", ".xgb": b"{", ".parquet": b"PAR1", ".png": b"\x89PNG", ".arrow": b"ARROW1", ".onnx": b"\x08",
    ".npy": b"\x93NUMPY",
}  # fmt: skip
"""Formats that hold numbers only, by the bytes they begin with: no pickle gets past these bytes, nor past a zip's."""

LIMIT = 512 * 2**20


@dataclass(frozen=True, order=True)
class Finding:
    """Something in a file that would run, or that nobody can tell would not."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def findings(path: str, file: BinaryIO) -> list[Finding]:
    """What is not known to be safe in one file. Reads at most LIMIT bytes; a larger one is itself a finding."""
    body = file.read(LIMIT + 1)
    if len(body) > LIMIT:
        return [Finding(path, "too large to be read by the scan")]
    return sorted({Finding(path, what) for what in _judge(path, body)})


def _judge(path: str, body: bytes) -> Iterator[str]:
    suffix = _suffix(path)
    if suffix in (".py", ".so", ".dll", ".dylib", ".sh", ".whl"):
        yield "carries code"
    elif body[:4] == b"PK\x03\x04":
        yield from _archive(body, skops=suffix == ".skops")
    elif suffix in DATA and body.startswith(DATA[suffix]):
        if suffix == ".npy" and b"'descr': '|O'" in body[:256]:
            yield "an array of Python objects, which are pickled"
    elif suffix in TEXT and _is_text(body):
        # A text file is loaded as text, unless its flavour is told to unpickle it: a pickle of protocol 0 is text too.
        yield from (what for what in _imports(body, partial=True) if what != UNREADABLE)
    else:
        yield from _imports(body, partial=False)


def _archive(body: bytes, *, skops: bool) -> Iterator[str]:
    try:
        with ZipFile(BytesIO(body)) as archive:
            for entry in archive.infolist():
                if entry.file_size > LIMIT:
                    yield f"{entry.filename} inside it is too large to be read"
                elif skops and entry.filename == "schema.json":
                    yield from _skops(archive.read(entry))
                elif not entry.is_dir():
                    yield from (
                        f"{entry.filename} inside it: {what}" for what in _judge(entry.filename, archive.read(entry))
                    )
    except (BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        yield f"an archive that cannot be read ({type(error).__name__})"


def _skops(schema: bytes) -> Iterator[str]:
    """skops files name the classes they hold, and build no others."""
    names = re.findall(rb'"__class__"\s*:\s*"([^"]*)"[^{}]*?"__module__"\s*:\s*"([^"]*)"', schema)
    for name, module in {(n.decode(errors="replace"), m.decode(errors="replace")) for n, m in names}:
        if not is_known(module, name):
            yield f"holds {module}.{name}"


UNREADABLE = "cannot be read as any format that is known to be safe"
UNKNOWN = object()


def is_known(module: str, name: str) -> bool:
    """Whether importing this rebuilds data and does nothing else."""
    full = f"{module}.{name}"
    return "." not in name and (full in EXACTLY or KNOWN.fullmatch(full) is not None)


def _imports(body: bytes, *, partial: bool) -> Iterator[str]:
    """Every import of a pickle that is not known to be safe, following the stack for names that are pushed on it."""
    machine, stream = _Machine(), BytesIO(body)
    try:
        while True:
            for opcode, argument, _ in pickletools.genops(stream):
                machine.step(opcode, argument)
            if not stream.read(1):
                break
            stream.seek(-1, 1)
    except Exception:
        if not partial:
            yield UNREADABLE
    # What ran before the bytes became nonsense would have run: pickles execute as they are read.
    if not partial or machine.calls:
        yield from machine.unsafe


class _Machine:
    """As much of the pickle machine as is needed to know what STACK_GLOBAL imports; everything else is UNKNOWN."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.unsafe: list[str] = []
        self.calls = 0

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        name = opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(str(argument))] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(str(argument))])
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            before = self._pop(opcode)
            self._note(name, argument, before)
            made = len([s for s in opcode.stack_after if s is not pickletools.markobject])
            keep = argument if isinstance(argument, str) and "UNICODE" in name or name in STRINGS else UNKNOWN
            if pickletools.markobject in opcode.stack_after:
                self.stack.append(MARK)
            self.stack.extend([keep] * made)

    def _pop(self, opcode: pickletools.OpcodeInfo) -> list[object]:
        taken: list[object] = []
        for wanted in reversed(opcode.stack_before):
            if wanted is pickletools.stackslice:
                while self.stack[-1] is not MARK:
                    taken.insert(0, self.stack.pop())
            elif opcode.name == "POP" or wanted is not pickletools.markobject:
                taken.insert(0, self.stack.pop())
            else:
                self.stack.pop()
        return taken

    def _note(self, name: str, argument: object, before: list[object]) -> None:
        if name in ("REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"):
            self.calls += 1
        if name in ("GLOBAL", "INST"):
            module, _, attribute = str(argument).partition(" ")
            self._import(module, attribute)
        elif name == "STACK_GLOBAL":
            module, attribute = before
            if isinstance(module, str) and isinstance(attribute, str):
                self._import(module, attribute)
            else:
                self.unsafe.append("imports something whose name it computes")
        elif name in ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"):
            self.unsafe.append(f"refers to things outside itself ({name})")

    def _import(self, module: str, attribute: str) -> None:
        # Protocols 0 to 2 write the names of Python 2; the unpickler translates these.
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        if not is_known(module, attribute):
            self.unsafe.append(f"imports {module}.{attribute}")


MARK = object()
STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in body


def _suffix(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return "." + name.rsplit(".", 1)[1].lower() if "." in name else ""
