"""The project's protobuf schemas as Python modules, made by grpc_tools when they are asked for."""
import importlib
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[3]
_folders = {}


def load(proto):
    """(messages, stubs) of a .proto file, named from the project's root."""
    path = ROOT / proto
    out = _folders.get(proto)
    if out is None:
        out = _folders[proto] = tempfile.TemporaryDirectory(prefix="tel-protos-")
        code = protoc.main(["protoc", f"-I{path.parent}", f"--python_out={out.name}",
                            f"--grpc_python_out={out.name}", str(path)])
        assert code == 0, f"protoc {proto}"
        sys.path.insert(0, out.name)
    return importlib.import_module(path.stem + "_pb2"), importlib.import_module(path.stem + "_pb2_grpc")
