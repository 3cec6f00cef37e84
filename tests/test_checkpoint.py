import json

import pytest
import torch

from peculiar.checkpoint import TrainingFolder, file_digest, load_network, load_pinned, load_tensors, save_tensors
from peculiar.networks.gan import Critic, Generator

FORM = {"size": 32, "channels": 1, "width": 2, "n_latent": 4, "batch_norm": True}


def networks(seed=0):
    torch.manual_seed(seed)
    generator = Generator(**FORM)
    generator(torch.randn(8, 4))  # running statistics other than the first
    return {"generator": generator, "critic": Critic(size=32, channels=1, width=2)}


def forms():
    return {"generator": FORM, "critic": {"size": 32, "channels": 1, "width": 2}}


def test_tensors_and_metadata_come_back(tmp_path):
    tensors = {
        "a": torch.randn(3, 2, 4, 4).contiguous(memory_format=torch.channels_last),
        "b.c/d": torch.tensor(7),
        "half": torch.randn(5).to(torch.bfloat16),
    }
    save_tensors(tmp_path / "t.safetensors", tensors, metadata={"step": 3, "form": {"size": 32}})
    found, metadata = load_tensors(tmp_path / "t.safetensors")
    assert metadata == {"step": 3, "form": {"size": 32}}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_an_absent_and_a_damaged_file_are_refused_with_a_remedy(tmp_path):
    path = tmp_path / "t.safetensors"
    for read in (load_tensors, file_digest):
        with pytest.raises(FileNotFoundError, match=r"no network file .*t\.safetensors; train it first"):
            read(path)
    save_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"is not a readable safetensors file.*train again or restore it"):
        load_tensors(path)


def test_a_digest_changes_with_every_byte(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 3_000_000)
    before = file_digest(path)
    path.write_bytes(b"a" * 2_999_999 + b"b")
    assert file_digest(path) != before
    assert len(before) == 32


def test_a_network_comes_back_frozen_in_evaluation_and_makes_the_same_images(tmp_path):
    folder, made = TrainingFolder(tmp_path), networks()
    folder.save(3, {}, made, forms())
    generator = load_network(folder.checkpoint_path(), "generator", Generator)
    assert not generator.training
    assert not any(each.requires_grad for each in generator.parameters())
    latent = torch.randn(3, 4)
    torch.testing.assert_close(generator(latent), made["generator"].eval()(latent))
    critic, images = load_network(folder.checkpoint_path(), "critic", Critic), torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(critic(images), made["critic"](images))
    for name, tensor in made["generator"].state_dict().items():
        assert torch.equal(generator.state_dict()[name], tensor)


def test_a_pinned_network_that_changed_is_refused_naming_both_digests(tmp_path):
    folder = TrainingFolder(tmp_path)
    folder.save(3, {}, networks(), forms())
    path = folder.checkpoint_path()
    pinned = file_digest(path)
    load_pinned(path, pinned, "generator", Generator)
    folder.save(3, {}, networks(seed=1), forms())
    with pytest.raises(ValueError, match=f"digest {file_digest(path)}, and the scores were made with {pinned}"):
        load_pinned(path, pinned, "generator", Generator)


# --- the folder


def test_the_newest_checkpoint_is_taken_or_the_one_asked_for(tmp_path):
    folder = TrainingFolder(tmp_path)
    for step in (2, 10, 6):
        folder.save(step, {}, networks(), forms())
    assert folder.steps() == [2, 6, 10]
    assert folder.checkpoint_path().stem == "00000010"
    assert folder.checkpoint_path(6).stem == "00000006"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 7 in .*; there are 2, 6, 10"):
        folder.checkpoint_path(7)


def test_without_a_checkpoint_training_is_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*; train it first"):
        TrainingFolder(tmp_path).checkpoint_path()


def test_what_a_kill_left_half_written_is_no_checkpoint(tmp_path, made):
    folder = TrainingFolder(tmp_path)
    folder.save(2, {}, networks(), forms())
    code = """
        import os, signal, sys
        from pathlib import Path
        from peculiar.run import atomic
        with atomic(Path(sys.argv[1]) / "checkpoints" / "00000004.safetensors") as partial:
            partial.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    made.python(code, tmp_path, expect=-9)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert folder.steps() == [2]
    assert folder.checkpoint_path().stem == "00000002"


def test_state_and_step_come_back_and_metrics_of_lost_steps_are_dropped(tmp_path):
    folder = TrainingFolder(tmp_path)
    assert folder.restore() == (0, {})
    for step in (2, 4, 6):
        folder.record(step, {"loss": step / 3, "penalty": 1e-9})
        if step == 4:
            folder.save(step, {"w": torch.tensor([1.5])}, networks(), forms())
    folder.close()
    with folder.metrics_path.open("a") as stream:
        stream.write("8,0.1")  # a kill in the middle of a line
    step, state = TrainingFolder(tmp_path).restore()
    assert (step, state) == (4, {"w": torch.tensor([1.5])})
    assert [row["step"] for row in folder.metrics()] == ["2", "4"]
    assert float(folder.metrics()[0]["loss"]) == pytest.approx(2 / 3, rel=1e-6)


def test_metrics_before_the_first_state_are_dropped(tmp_path):
    folder = TrainingFolder(tmp_path)
    folder.record(1, {"loss": 1.0})
    folder.close()
    assert folder.restore() == (0, {})
    assert folder.metrics() == []


def test_a_kill_between_checkpoint_and_state_costs_nothing(tmp_path):
    folder = TrainingFolder(tmp_path)
    folder.save(2, {"w": torch.tensor([1.0])}, networks(), forms())
    kept = folder.state_path.read_bytes()
    folder.save(4, {"w": torch.tensor([2.0])}, networks(), forms())
    folder.state_path.write_bytes(kept)
    assert folder.restore()[0] == 2
    assert folder.steps() == [2, 4]


def test_metrics_go_to_tensorboard_too(tmp_path):
    folder = TrainingFolder(tmp_path)
    folder.record(25, {"loss": 1.25})
    folder.close()
    events = list((tmp_path / "events").iterdir())
    assert len(events) == 1
    assert b"loss" in events[0].read_bytes()


def test_a_checkpoint_says_how_to_rebuild_its_networks(tmp_path):
    folder = TrainingFolder(tmp_path)
    folder.save(3, {}, networks(), forms())
    _, metadata = load_tensors(folder.checkpoint_path())
    assert metadata == {"step": 3, "networks": json.loads(json.dumps(forms()))}
