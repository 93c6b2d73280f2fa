"""onnxruntime sessions, and the devices that the installed onnxruntime computes on.

A device is one of its execution providers. The package onnxruntime brings the CPU's alone; onnxruntime-gpu adds CUDA,
and onnxruntime-openvino adds Intel's OpenVINO, which computes on the CPU here.
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
"""What to ``pip install`` for each device."""

MANY_THREADS = 64
"""That ``OMP_NUM_THREADS`` may ask for on a machine with fewer processors."""

_WARNING, _ERROR, _FATAL = 2, 3, 4  # onnxruntime's severities of log lines; it starts with the first


def device_kind(device: str) -> str | None:
    """The key of ``PROVIDERS`` that a device's name means (``cuda:1``: ``cuda``); None where it means none of them."""
    kind = "cuda" if re.fullmatch(r"cuda:\d+", device) else device
    return kind if kind in PROVIDERS else None


def has_provider(kind: str) -> bool:
    """Whether the installed onnxruntime has the provider of that key; it may still fail to start."""
    return PROVIDERS[kind] in _import_onnxruntime().get_available_providers()


def open_session(path: str | Path, device: str, threads: int = 0) -> InferenceSession:
    """Open an ONNX file on a device.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``openvino``.
        threads: how many threads compute on the CPU; 0 = as many as ``OMP_NUM_THREADS`` says, which torch heeds too,
            but no more than ``MANY_THREADS`` or processors; without it onnxruntime chooses.

    Raises:
        UserError: onnxruntime is not installed, has no such device or cannot start it, or the file is damaged.
    """
    onnxruntime = _import_onnxruntime()
    kind = device_kind(device)
    if kind is None or not has_provider(kind):
        have = ", ".join(each for each in PROVIDERS if has_provider(each))
        remedy = f"pip install {PACKAGES[kind]}" if kind else f"pass one of {', '.join(PROVIDERS)}"
        raise UserError(f"device '{device}': this onnxruntime computes on {have}; use that, or {remedy}")
    options = onnxruntime.SessionOptions()
    threads = threads or _threads_asked()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERROR  # errors, which are raised as well
    # Threads that spin while they wait double the time of a batch where other programs want the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    lacking = _load_cuda(onnxruntime) if kind == "cuda" else ""
    wanted = _providers(kind, device, threads)
    try:
        with hidden_logs() if lacking or kind == "openvino" else nullcontext():  # the error says it
            session = onnxruntime.InferenceSession(str(path), options, wanted, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors have no common class of their own
        of_device = kind != "cpu" and isinstance(error, RuntimeError | ValueError)
        if not of_device and not type(error).__module__.startswith("onnxruntime"):
            raise
        reason = str(error).splitlines()[0].rpartition("[OpenVINO-EP] ")[2]
        if kind == "cpu":
            raise UserError(f"{path}: not a whole ONNX file ({reason}); copy it anew, or export it again") from error
        raise UserError(f"device '{device}': it does not open {path} ({reason}); use device 'cpu'") from error
    if session.get_providers()[0] != PROVIDERS[kind]:  # onnxruntime goes on with the CPU, and only logs it
        raise UserError(
            f"device '{device}': onnxruntime's {PROVIDERS[kind]} does not start ({lacking or 'its log says why'}); "
            f"pip install {PACKAGES[kind]}, or use device 'cpu'"
        )
    return session


def _threads_asked() -> int:
    """What ``OMP_NUM_THREADS`` says, within reason; 0 = nothing. A hundred thousand take minutes to start."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if not asked.isdecimal():
        return 0
    return int(min(float(asked), max(MANY_THREADS, os.cpu_count() or 1)))


@contextmanager
def hidden_logs() -> Iterator[None]:
    """Hide what onnxruntime logs on standard error."""
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
    # Where ORT_DISABLE_TELEMETRY came too late, since onnxruntime was there before dptr, or is not read (Windows).
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _providers(kind: str, device: str, threads: int) -> list[Any]:
    """The providers of a session, the preferred one first; all compute in float32, as the CPU's does."""
    options: dict[str, Any] = {}
    if kind == "cuda":
        options = {"device_id": int(device.partition(":")[2] or 0), "use_tf32": 0}
    elif kind == "openvino":
        options = {"device_type": "CPU", "precision": "FP32"} | ({"num_of_threads": threads} if threads else {})
    rest = [] if kind == "cpu" else [PROVIDERS["cpu"]]  # for what the device has no kernel of
    return [(PROVIDERS[kind], options), *rest]


def _load_cuda(onnxruntime: Any) -> str:
    """Load CUDA's libraries from their Python packages, where there are any; what could not be loaded first."""
    said = io.StringIO()
    with redirect_stdout(said):
        onnxruntime.preload_dlls(msvc=False)
    return next((line for line in said.getvalue().splitlines() if line.startswith("Failed")), "")
