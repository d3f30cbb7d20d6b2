"""What `run.json` holds besides the options: the versions, the machine and the commit a run came from."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

SCHEMA = 1
PACKAGES = ("mixscope", "torch", "accelerate", "numpy", "scipy", "scikit-learn", "safetensors")


def describe_environment(*, device: str, num_threads: int, accelerator_name: str | None = None) -> dict[str, Any]:
    """Describe where a run happens: package versions, Python, platform, processor, threads, device and commit.

    Args:
        device: The device as torch writes it, for example "cuda:0".
        num_threads: Threads torch computes with.
        accelerator_name: The GPU's name, if one is used.
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


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


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
