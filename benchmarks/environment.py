"""What a benchmark ran on, in a line, and the images that several read."""

import platform
import re
from pathlib import Path

GZ2 = Path(__file__).resolve().parents[2] / "shared" / "data" / "gz2"  # 4,889 JPEG of Galaxy Zoo 2


def machine_line() -> str:
    """Processor, its instructions that matter, cores in use, PyTorch and threads."""
    import torch

    from peculiar import engine

    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", described)
    family = re.search(r"cpu family\s*: (\d+)\s*model\s*: (\d+)", described)
    flags = set(described.split())
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    which = f" (family {family[1]}, model {family[2]})" if family else ""
    return (
        f"{name[1] if name else platform.machine()}{which}, {' '.join(has)}, {engine.n_cores()} cores; "
        f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    )
