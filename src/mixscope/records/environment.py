"""Environment of a run: the versions, the machine and the commit it came from."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

SCHEMA = 1
PACKAGES = ("mixscope", "torch", "accelerate", "numpy", "scipy", "scikit-learn", "safetensors")
# What Linux says of a processor besides its model name, x86 first, then ARM: key in /proc/cpuinfo to our word.
PROCESSOR_KEYS = {
    "vendor_id": "",
    "cpu family": "family ",
    "model": "model ",
    "CPU implementer": "implementer ",
    "CPU part": "part ",
}


def describe_environment(*, device: str, num_threads: int, accelerator_name: str | None = None) -> dict[str, Any]:
    """Describe where a run happens: package versions, Python, platform, processor, threads, device and commit.

    The device is as torch writes it, for example "cuda:0"; `accelerator_name` is the GPU's, if one is used.
    """
    return {
        **{package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "num_cores": os.cpu_count(),
        "num_threads": num_threads,
        "device": device,
        "accelerator": accelerator_name,
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor_name(cpuinfo: str, *, otherwise: str) -> str:
    """Return what a text like Linux's /proc/cpuinfo says of its first processor: model name, vendor, family and model.

    A model name alone may name a dozen processors ("AMD EPYC", "Intel(R) Xeon(R) Processor"), and ARM gives none:
    `otherwise`, for example "aarch64", stands in for it.
    """
    said: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if value.strip():
            said.setdefault(key.strip(), value.strip())
    details = [f"{word}{said[key]}" for key, word in PROCESSOR_KEYS.items() if key in said]
    name = said.get("model name") or said.get("Model") or otherwise
    return f"{name} ({', '.join(details)})" if details else name


def _processor() -> str:
    otherwise = platform.processor() or platform.machine()
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return otherwise
    return processor_name(cpuinfo, otherwise=otherwise)


def _commit() -> str | None:
    """Return the commit of the source tree mixscope runs from ("+" if it has changes), or None outside one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10)
        if tracked.returncode:  # an installed copy that merely lies inside somebody's repository
            return None
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")
