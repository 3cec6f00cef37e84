"""Where work runs: the device, its precision, threads and memory, and a pool of processes."""

import copy
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from peculiar.run import Track, save_figure

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from peculiar.checkpoint import TrainingFolder
    from peculiar.networks.training import Training
    from peculiar.survey import ShuffledImages

    Network = TypeVar("Network", bound=nn.Module)

log = logging.getLogger(__name__)
RECORD_EVERY = 25  # steps a row of metrics

Task = TypeVar("Task")
Result = TypeVar("Result")

# glibc returns big buffers to the kernel at every step, and page faults cost 30 to 40 % (MEASURED.md).
# And every thread of Lance's would keep what it has freed in an arena of its own.
_MALLOPT = {
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 2**26),
    "MALLOC_MMAP_MAX_": (-4, 0),
    "MALLOC_ARENA_MAX": (-8, 2),
}


@dataclass(frozen=True)
class Machine:
    """The device that networks run on, and how numbers are held there."""

    device: "torch.device"
    is_bfloat16: bool

    def precision(self) -> AbstractContextManager[object]:
        """A context in which convolutions and products run in bfloat16, where the processor has it."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16) if self.is_bfloat16 else nullcontext()

    def place(self, network: "torch.nn.Module") -> None:
        """Move a network here, its weights in the order that convolutions are fastest in."""
        import torch

        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def frozen(self, network: "Network") -> "Network":
        """A copy whose convolutions and products hold their weights as `precision` wants them.

        For what is called many times and not trained: autocast would convert frozen weights anew at every call.
        """
        import torch
        from torch import nn

        copied = copy.deepcopy(network).requires_grad_(False)
        if self.is_bfloat16:
            for layer in copied.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                    layer.to(torch.bfloat16)
        return copied

    def tensor(self, images: "np.ndarray") -> "torch.Tensor":
        """Stored images, uint8 (n, height, width, channels), in network form on the device."""
        import torch

        from peculiar.sky.pixels import to_network

        on_device = torch.from_numpy(to_network(images)).to(self.device)
        return on_device.contiguous(memory_format=torch.channels_last)

    def training_batch(self, images: "ShuffledImages", number: int, *, is_augmented: bool) -> "torch.Tensor":
        """Batch `number` of the shuffled survey on the device, under the square's symmetries where augmented."""
        import numpy as np

        from peculiar.sky.pixels import turned

        batch = images.batch(number)
        if is_augmented:
            random = np.random.default_rng([images.seed % 2**64, number])
            batch = turned(batch, random.integers(0, 8, len(batch)))
        return self.tensor(batch)

    def reconstruct(self, generator: "torch.nn.Module", latent: "np.ndarray") -> "np.ndarray":
        """Stored images, uint8 (n, height, width, channels), that the generator makes of latents, in float32."""
        import torch

        from peculiar.scoring.reconstruction import in_batches
        from peculiar.sky.pixels import to_stored

        with torch.no_grad():
            (images,) = in_batches(lambda at: (generator(at),), torch.tensor(latent, device=self.device))
        return to_stored(images.cpu().numpy())

    def __str__(self) -> str:
        return f"{self.device.type} in {'bfloat16' if self.is_bfloat16 else 'float32'}"


def machine(device: str = "auto", *, is_full_precision: bool = False) -> Machine:
    """The device asked for; "auto" takes CUDA, then MPS, then the processor.

    Call `tune` before torch is imported for the first time.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, and torch sees no CUDA device; use --device cpu or auto")
    if device == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device mps was asked for, and torch sees no MPS device; use --device cpu or auto")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must be auto, cpu, cuda or mps, got {device!r}") from None
    return Machine(chosen, not is_full_precision and _has_bfloat16(chosen))


def _has_bfloat16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type == "cpu":
        # Without the instructions bfloat16 is emulated, and slower than float32.
        return _cpu_has("_is_avx512_bf16_supported") or _cpu_has("_is_amx_tile_supported")
    return False


def _cpu_has(question: str) -> bool:
    import torch

    ask: Callable[[], bool] = getattr(torch.cpu, question, lambda: False)
    return bool(ask())


def tune() -> None:
    """Pin torch's threads to cores and keep freed memory, as MEASURED.md found fastest.

    Does nothing where the user has chosen (any OMP_* or MALLOC_* variable), or where torch is loaded already: both
    are read once. The variables are taken back after torch's own threads have started, as a second OpenMP runtime
    (scikit-learn's) would otherwise see one core.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return
    if not any(name.startswith("MALLOC_") for name in os.environ):
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter, value in _MALLOPT.values():
                libc.mallopt(parameter, value)
    if any(name.startswith(("OMP_", "GOMP_", "KMP_")) for name in os.environ):
        import torch
    else:
        cores = sorted(os.sched_getaffinity(0))
        os.environ |= {"OMP_PROC_BIND": "true", "OMP_PLACES": ",".join(f"{{{core}}}" for core in cores)}
        import torch

        torch.ones(2**18).add_(1)  # starts the threads
        del os.environ["OMP_PROC_BIND"], os.environ["OMP_PLACES"]
        os.environ[_CORES] = ",".join(map(str, cores))


def train_in(
    home: Path,
    training: "Training",
    networks: "dict[str, nn.Module]",
    forms: dict[str, dict[str, Any]],
    *,
    n_steps: int,
    save_every: int,
    description: str,
    track: Track,
    also: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Train in the folder of a stage, from its newest state; checkpoints hold `networks`, which `forms` rebuild.

    `also` is called after each save. Returns the step reached and the digest of its checkpoint.
    """
    from peculiar.checkpoint import TrainingFolder, file_digest
    from peculiar.networks.training import train

    with closing(TrainingFolder(home)) as folder, track(description, n_steps) as advance:
        done, state = folder.restore()
        if state:
            training.restore(state)
            log.info("going on at step %d of %d", done, n_steps)
        advance(min(done, n_steps))

        def save(step: int) -> None:
            folder.save(step, training.tensors(), networks, forms)
            _draw_losses(folder)
            also(step)

        train(
            training,
            first_step=done,
            n_steps=n_steps,
            record_every=min(RECORD_EVERY, save_every),
            save_every=save_every,
            record=folder.record,
            save=save,
            advance=advance,
        )
        newest = folder.checkpoint_path()
    return {"step": int(newest.stem), "digest": file_digest(newest)}


def _draw_losses(folder: "TrainingFolder") -> None:
    """The course of training so far, as `losses.png` beside its numbers."""
    from peculiar.figures import figure_losses

    save_figure(figure_losses(folder.curves(), x="step"), folder.folder / "losses.png")


_CORES = "PECULIAR_CORES"


_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def _begin_worker(parent: int) -> None:
    """Give a worker all cores, as it inherits the main thread's mask; and let it end when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    cores = os.environ.get(_CORES)
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])


def n_cores() -> int:
    """Cores that this process may use."""
    cores = os.environ.get(_CORES)
    return (
        len(cores.split(","))
        if cores
        else len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1)
    )


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep new workers from importing the user's script, which would run it again where it has no main guard."""
    script = sys.modules["__main__"]
    kept: dict[str, object] = {
        name: script.__dict__.pop(name) for name in ("__file__", "__spec__") if name in script.__dict__
    }
    script.__spec__ = None
    try:
        yield
    finally:
        script.__dict__.update(kept)


def map_ordered(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, n_workers: int = 0, look_ahead: int = 2
) -> Iterator[Result]:
    """Results in the order of the tasks, made by several processes.

    At most `look_ahead` tasks a worker are under way, so that memory stays bounded whatever the number of tasks.
    Workers are fresh interpreters (no fork of threads), and `function` must be importable. With one worker, or one
    task, everything happens here.
    """
    from collections import deque
    from concurrent.futures import Future, ProcessPoolExecutor
    from itertools import chain, islice
    from multiprocessing import get_context

    n_workers = n_workers or n_cores()
    remaining = iter(tasks)
    first = list(islice(remaining, 2))
    if n_workers == 1 or len(first) < 2:
        yield from map(function, chain(first, remaining))
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, initializer=_begin_worker, initargs=(os.getpid(),)) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for task in chain(first, remaining):
                with _main_module_hidden():
                    waiting.append(pool.submit(function, task))
                if len(waiting) >= look_ahead * n_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
