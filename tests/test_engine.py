import os
import time

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from peculiar import engine
from peculiar.networks.gan import Critic, Generator
from peculiar.sky.pixels import turned
from peculiar.survey import ShuffledImages, Survey


def test_results_come_in_the_order_of_the_tasks_from_other_processes():
    tasks = [0.02 * (each % 3) for each in range(12)]
    results = list(engine.map_ordered(_slept, iter(tasks), n_workers=2))
    assert [task for task, _ in results] == tasks
    assert os.getpid() not in {pid for _, pid in results}


def _slept(seconds):
    time.sleep(seconds)
    return seconds, os.getpid()


def test_one_task_or_one_worker_needs_no_other_process():
    assert list(engine.map_ordered(_slept, [0.0], n_workers=2)) == [(0.0, os.getpid())]
    assert list(engine.map_ordered(_slept, [0.0, 0.0], n_workers=1)) == [(0.0, os.getpid())] * 2
    assert list(engine.map_ordered(_slept, [], n_workers=2)) == []


def test_tasks_are_taken_no_further_ahead_than_asked():
    taken = []

    def tasks():
        for each in range(30):
            taken.append(each)
            yield 0.0

    for n_done, _ in enumerate(engine.map_ordered(_slept, tasks(), n_workers=2, look_ahead=2)):
        assert len(taken) - n_done <= 2 * 2 + 1


def _failing(task):
    raise ZeroDivisionError(f"task {task}")


def test_an_error_in_a_worker_is_raised_here():
    with pytest.raises(ZeroDivisionError, match="task 0"):
        list(engine.map_ordered(_failing, range(6), n_workers=2))


def test_a_script_without_a_main_guard_is_not_run_again(made, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nprint('once', flush=True)\nfrom peculiar import engine\n"
        "print(sum(engine.map_ordered(abs, [-1, -2, -3], n_workers=2)))\n"
    )
    printed = made.python("import subprocess, sys; subprocess.run([sys.executable, sys.argv[1]], check=True)", script)
    assert printed.split() == ["once", "6"]


def test_workers_die_with_the_process_that_started_them(made, tmp_path):
    code = """
        import os, signal, sys
        from peculiar import engine
        def tasks():
            yield 1; yield 2; yield 3
            import multiprocessing
            with open(sys.argv[1], "w") as stream:
                print(*[each.pid for each in multiprocessing.active_children()], file=stream)
            os.kill(os.getpid(), signal.SIGKILL)
        list(engine.map_ordered(abs, tasks(), n_workers=2, look_ahead=1))
    """
    made.python(code, tmp_path / "workers", expect=-9)
    workers = [int(each) for each in (tmp_path / "workers").read_text().split()]
    assert workers
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(_is_alive(each) for each in workers):
        time.sleep(0.1)
    survivors = [each for each in workers if _is_alive(each)]
    for each in survivors:
        os.kill(each, 9)
    assert not survivors


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_absent_device_is_refused():
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device cuda was asked for.*--device cpu or auto"):
            engine.machine("cuda")
    assert str(engine.machine("cpu", is_full_precision=True)) == "cpu in float32"


def test_a_device_that_is_none_is_refused():
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or mps, got 'bogus'"):
        engine.machine("bogus")


def test_tuning_pins_threads_and_leaves_no_variable_behind(made):
    code = """
        import os, sys
        for name in [each for each in os.environ if each.startswith(("OMP_", "GOMP_", "KMP_", "MALLOC_"))]:
            del os.environ[name]
        cores = len(os.sched_getaffinity(0))
        from peculiar import engine
        engine.tune()
        engine.tune()
        assert "torch" in sys.modules
        assert not any(each.startswith("OMP_") for each in os.environ)
        print(engine.n_cores() == cores)
    """
    assert made.python(code).split() == ["True"]


def test_tuning_respects_what_the_user_chose(made):
    code = """
        import os
        os.environ["OMP_NUM_THREADS"] = "1"
        from peculiar import engine
        engine.tune()
        import torch
        print(torch.get_num_threads(), engine._CORES in os.environ)
    """
    assert made.python(code).split() == ["1", "False"]


# --- images to the device and back


def test_stored_images_become_network_images_on_the_device(made):
    images = made.images(3, channels=4)
    tensor = engine.machine("cpu").tensor(images)
    assert tensor.shape == (3, 4, 32, 32)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert_array_equal(np.rint(tensor.numpy() * 255), np.moveaxis(images, -1, 1))


def test_a_training_batch_is_turned_the_same_way_each_time(ingested):
    shuffled = ShuffledImages(Survey(ingested / "survey" / "table.lance"), 16, seed=-3)
    machine = engine.machine("cpu")
    plain = machine.training_batch(shuffled, 5, is_augmented=False)
    assert torch.equal(plain, machine.tensor(shuffled.batch(5)))
    augmented = [machine.training_batch(shuffled, 5, is_augmented=True) for _ in range(2)]
    assert torch.equal(*augmented)
    assert not torch.equal(augmented[0], plain)
    for image, stored in zip(augmented[0], shuffled.batch(5), strict=True):
        symmetries = machine.tensor(turned(np.repeat(stored[None], 8, axis=0), np.arange(8)))
        assert (symmetries == image).flatten(1).all(1).any()


def test_reconstructions_are_stored_images_whatever_their_number():
    torch.manual_seed(0)
    generator = Generator(size=32, width=2, n_latent=4).eval()
    latent = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    machine = engine.machine("cpu")
    machine.place(generator)
    images = machine.reconstruct(generator, latent)
    assert (images.shape, images.dtype) == ((40, 32, 32, 3), np.uint8)
    assert_array_equal(machine.reconstruct(generator, latent[:7]), images[:7])


def test_a_frozen_copy_gives_what_autocast_gives_and_leaves_the_network_as_it_was():
    machine = engine.Machine(torch.device("cpu"), is_bfloat16=True)
    torch.manual_seed(0)
    critic, images = Critic(size=32, width=4), torch.rand(3, 3, 32, 32)
    quick = machine.frozen(critic)
    assert {each.dtype for each in quick.parameters()} == {torch.bfloat16}
    assert {each.dtype for each in critic.parameters()} == {torch.float32}
    assert all(each.requires_grad for each in critic.parameters())
    with torch.no_grad(), machine.precision():
        torch.testing.assert_close(quick.features(images), critic.features(images), rtol=0, atol=0)
    exact = engine.Machine(torch.device("cpu"), is_bfloat16=False).frozen(critic)
    assert {each.dtype for each in exact.parameters()} == {torch.float32}
