"""onnxruntime sessions, and the devices that the installed onnxruntime supports.

Each device is an execution provider of onnxruntime. The package onnxruntime contains only the provider for the CPU;
onnxruntime-gpu adds CUDA, and onnxruntime-openvino adds Intel's OpenVINO, which also computes on the CPU here.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dptr.utils.errors import UserError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
PACKAGES = {"cpu": "onnxruntime", "cuda": "'onnxruntime-gpu[cuda,cudnn]'", "openvino": "onnxruntime-openvino"}
"""The argument of ``pip install`` for each device."""

MANY_THREADS = 64
"""Limit on ``OMP_NUM_THREADS`` on machines with fewer processors."""

_WARNING, _ERROR, _FATAL = 2, 3, 4  # log severities of onnxruntime; the default is the first


def device_kind(device: str) -> str | None:
    """The key of ``PROVIDERS`` for the name of a device (``cuda:1``: ``cuda``); None if there is none."""
    kind = "cuda" if re.fullmatch(r"cuda:\d+", device) else device
    return kind if kind in PROVIDERS else None


def has_provider(kind: str) -> bool:
    """Whether the installed onnxruntime contains the provider of a key of ``PROVIDERS``; it may still fail to start."""
    return PROVIDERS[kind] in _import_onnxruntime().get_available_providers()


def open_session(path: str | Path, device: str, threads: int = 0) -> InferenceSession:
    """Open an ONNX file on a device.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``openvino``.
        threads: the number of threads on the CPU. 0 = the value of ``OMP_NUM_THREADS``, which torch respects too, but
            at most the larger of ``MANY_THREADS`` and the number of processors; if it is not set, onnxruntime chooses.

    Raises:
        UserError: onnxruntime is not installed, has no such device, or cannot start it; or the file is damaged.
    """
    onnxruntime = _import_onnxruntime()
    kind = device_kind(device)
    if kind is None or not has_provider(kind):
        available = ", ".join(each for each in PROVIDERS if has_provider(each))
        remedy = f"pip install {PACKAGES[kind]}" if kind else f"pass one of {', '.join(PROVIDERS)}"
        raise UserError(f"device '{device}': this onnxruntime computes on {available}; use that, or {remedy}")
    options = onnxruntime.SessionOptions()
    threads = threads or _read_thread_limit()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERROR  # errors are also raised
    # A plan of memory is kept for each shape of the inputs, and photographs have many shapes.
    options.enable_mem_pattern = False
    # Threads that spin while waiting double the time of a batch when other programs use the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    load_error = _load_cuda(onnxruntime) if kind == "cuda" else ""
    providers = _providers(kind, device, threads)
    try:
        # The raised error contains the message that is hidden here.
        with hidden_logs() if load_error or kind == "openvino" else nullcontext():
            session = onnxruntime.InferenceSession(str(path), options, providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors have no common base class
        is_device_error = kind != "cpu" and isinstance(error, RuntimeError | ValueError)
        if not is_device_error and not type(error).__module__.startswith("onnxruntime"):
            raise
        reason = str(error).splitlines()[0].rpartition("[OpenVINO-EP] ")[2]
        if kind == "cpu":
            raise UserError(f"{path}: not a whole ONNX file ({reason}); copy it anew, or export it again") from error
        raise UserError(f"device '{device}': it does not open {path} ({reason}); use device 'cpu'") from error
    if session.get_providers()[0] != PROVIDERS[kind]:  # onnxruntime falls back to the CPU, and only logs it
        raise UserError(
            f"device '{device}': onnxruntime's {PROVIDERS[kind]} does not start ({load_error or 'its log says why'}); "
            f"pip install {PACKAGES[kind]}, or use device 'cpu'"
        )
    return session


def _read_thread_limit() -> int:
    """The value of ``OMP_NUM_THREADS``, capped; 0 if it is not a number.

    The cap is needed, since a hundred thousand threads would take minutes to start.
    """
    value = os.environ.get("OMP_NUM_THREADS", "")
    if not value.isdecimal():
        return 0
    return int(min(float(value), max(MANY_THREADS, os.cpu_count() or 1)))


@contextmanager
def hidden_logs() -> Iterator[None]:
    """Hide the messages that onnxruntime logs on standard error."""
    onnxruntime = _import_onnxruntime()
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed; pip install onnxruntime") from error
    except ImportError as error:
        raise UserError(f"onnxruntime does not start ({error}); pip install --force-reinstall onnxruntime") from error
    # ORT_DISABLE_TELEMETRY has no effect if onnxruntime was imported before dptr, nor on Windows.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _providers(kind: str, device: str, threads: int) -> list[Any]:
    """The providers of a session, the preferred one first. All compute in float32, like the CPU."""
    options: dict[str, Any] = {}
    if kind == "cuda":
        options = {"device_id": int(device.partition(":")[2] or 0), "use_tf32": 0}
    elif kind == "openvino":
        options = {"device_type": "CPU", "precision": "FP32"} | ({"num_of_threads": threads} if threads else {})
    rest = [] if kind == "cpu" else [PROVIDERS["cpu"]]  # for operations without a kernel for the device
    return [(PROVIDERS[kind], options), *rest]


def _load_cuda(onnxruntime: Any) -> str:
    """Load the CUDA libraries from their Python packages, if installed; return the first failure message, or ""."""
    output = io.StringIO()
    with redirect_stdout(output):
        onnxruntime.preload_dlls(msvc=False)
    return next((line for line in output.getvalue().splitlines() if line.startswith("Failed")), "")
