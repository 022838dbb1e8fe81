"""onnxruntime's exceptions, and which of them an error of Onrush becomes."""

from __future__ import annotations

from ..errors import Error


class OrtError(Exception):
    """Base of this module's exceptions. The text is "[ONNXRuntimeError] : 1 : FAIL : ..."."""

    status = (1, "FAIL")

    @classmethod
    def of(cls, message: str) -> OrtError:
        number, name = cls.status
        return cls(f"[ONNXRuntimeError] : {number} : {name} : {message}")


class Fail(OrtError):
    status = (1, "FAIL")


class InvalidArgument(OrtError):
    status = (2, "INVALID_ARGUMENT")


class NoSuchFile(OrtError):
    status = (3, "NO_SUCHFILE")


class NoModel(OrtError):
    status = (4, "NO_MODEL")


class EngineError(OrtError):
    status = (5, "ENGINE_ERROR")


class RuntimeException(OrtError):
    status = (6, "RUNTIME_EXCEPTION")


class InvalidProtobuf(OrtError):
    status = (7, "INVALID_PROTOBUF")


class ModelLoaded(OrtError):
    status = (8, "MODEL_LOADED")


class NotImplemented(OrtError):  # onnxruntime's name, too
    status = (9, "NOT_IMPLEMENTED")


class InvalidGraph(OrtError):
    status = (10, "INVALID_GRAPH")


class EPFail(OrtError):
    status = (11, "EP_FAIL")


class ModelLoadCanceled(OrtError):
    status = (12, "MODEL_LOAD_CANCELED")


class ModelRequiresCompilation(OrtError):
    status = (13, "MODEL_REQUIRES_COMPILATION")


class NotFound(OrtError):
    status = (14, "NOT_FOUND")


class DeviceReset(OrtError):
    status = (15, "DEVICE_RESET")


_BY_CODE = {
    "invalid argument": InvalidArgument,
    "not found": NoSuchFile,
    "unsupported": NotImplemented,
    "out of memory": RuntimeException,
    "internal error": RuntimeException,
    "device error": EPFail,
}


# Where onnxruntime tells broken models apart more finely than error codes do.
_BY_WORDS_AT_LOAD = {
    "protobuf": InvalidProtobuf,
    "is no regular file": InvalidProtobuf,
    "the file is empty": InvalidArgument,
    "the file holds no graph": InvalidArgument,
    "is produced by no node": InvalidArgument,
    "has a name that is taken": Fail,
    "and the model declares it as": Fail,
    "must have one type": Fail,
    "its body": Fail,
    "allows no gaps": Fail,
    "imports no operator set": Fail,
    "states no IR version": Fail,
    "is newer than": Fail,
}


def load_error(error: Error) -> OrtError:
    """What onnxruntime would raise where a model cannot be loaded."""
    text = str(error)
    for words, kind in _BY_WORDS_AT_LOAD.items():
        if words in text:
            return kind.of(text)
    if error.code == "invalid model":
        return InvalidGraph.of(text)
    return _BY_CODE.get(error.code, Fail).of(text)


def run_error(error: Error) -> OrtError:
    """What onnxruntime would raise where a run goes wrong."""
    if error.code == "cancelled":
        return Fail.of("Exiting due to terminate flag being set to true.")
    return _BY_CODE.get(error.code, Fail).of(str(error))
