"""Features by a backbone that others trained; here small ones of random weights, as no download is a part of a test."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from peculiar import Atlas
from peculiar.feature_set import FeatureSet
from peculiar.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD, Pretrained
from peculiar.sky.pixels import to_network

transformers = pytest.importorskip("transformers", reason="the extra pretrained is not installed")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A folder with a small ConvNeXt V2 of random weights. Not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = transformers.ConvNextV2Config(hidden_sizes=[4, 8, 8, 16], depths=[1, 1, 1, 1], image_size=32)
    transformers.ConvNextV2Model(config).eval().save_pretrained(folder)
    return folder


def make(folder, model, name="theirs", **options):
    return Atlas(folder).make_features(name, source="pretrained", model=str(model), **options)


def test_vectors_are_the_models_own(copy, ingested, inputs, backbone):
    folder = copy(ingested)
    run = make(folder, backbone)
    opened = FeatureSet(folder, "theirs")
    assert (len(opened), opened.n_features, run.outputs["kind"]) == (64, 16, "pretrained")
    images = torch.from_numpy(to_network(inputs.images[[5, 40]]))
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    model = transformers.AutoModel.from_pretrained(backbone).eval()
    with torch.no_grad():
        expected = model(pixel_values=(images - mean) / deviation).pooler_output
    assert_allclose(opened.take(inputs.object_id[[5, 40]]), expected, rtol=1e-3, atol=1e-4)
    found = Atlas(folder).similar(images=inputs.images[7], n=1, features="theirs")
    assert found["object_id"][0] == inputs.object_id[7]
    assert {each.folder: each.state for each in Atlas(folder).status()}["features/theirs"] == "complete"


def test_normalization_is_the_folders_own_where_it_says(copy, ingested, inputs, backbone, tmp_path):
    model = shutil.copytree(backbone, tmp_path / "model")
    (model / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    folder = copy(ingested)
    make(folder, backbone)
    make(folder, model, name="other")
    first, second = (Atlas(folder).features(each).take(inputs.object_id[:3]) for each in ("theirs", "other"))
    assert not np.allclose(first, second)


def test_a_model_without_a_pooler_gives_the_mean_of_its_places():
    class Plain(torch.nn.Module):
        def forward(self, pixel_values):
            return type("Out", (), {"last_hidden_state": pixel_values[:, :, :4, :4]})()

    network = Pretrained(Plain(), size=8, mean=[0.0] * 3, deviation=[1.0] * 3)
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(network.features(images), images[:, :, :4, :4].mean((2, 3)))
    gray = network.features(images[:, :1])
    torch.testing.assert_close(gray[:, 0], gray[:, 2])
    with pytest.raises(ValueError, match="1 or 3 channels, got 5"):
        network.features(torch.rand(1, 5, 8, 8))


def test_what_is_no_safe_vision_model_is_refused(copy, ingested, backbone, tmp_path):
    folder = copy(ingested)
    pickled = shutil.copytree(backbone, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no pickle is read"):
        make(folder, pickled)
    words = tmp_path / "words"
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    transformers.BertModel(config).save_pretrained(words)
    with pytest.raises(ValueError, match="BertModel, which sees no images"):
        make(folder, words)
    with pytest.raises(ValueError, match='given by source "pretrained" and model NAME together'):
        Atlas(folder).make_features("x", source="pretrained")
    assert not (folder / "features").exists()


def test_other_weights_are_never_mixed_in(copy, ingested, backbone, tmp_path):
    model = shutil.copytree(backbone, tmp_path / "model")
    folder = copy(ingested)
    make(folder, model)
    torch.manual_seed(1)
    transformers.ConvNextV2Model(transformers.AutoConfig.from_pretrained(model)).save_pretrained(model)
    with pytest.raises(ValueError, match="was made by another network than is there now"):
        make(folder, model)
    with pytest.raises(ValueError, match="and features were made with"):
        Atlas(folder).similar(images=np.zeros((32, 32, 3), np.uint8), features="theirs")


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        super().__init__(*arguments)

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        sha = "a" * 40
        if self.path.startswith("/api/models/someone/tiny/tree"):
            files = [{"type": "file", "path": each.name, "size": 1, "oid": sha} for each in self.folder.iterdir()]
            self.reply(200, json.dumps(files).encode(), with_body, {"Content-Type": "application/json"})
        elif self.path.startswith("/api/models/someone/tiny"):
            files = [{"rfilename": each.name} for each in self.folder.iterdir()]
            body = json.dumps({"id": "someone/tiny", "modelId": "someone/tiny", "sha": sha, "siblings": files}).encode()
            self.reply(200, body, with_body, {"Content-Type": "application/json"})
        elif self.path.startswith("/someone/tiny/resolve/") and (self.folder / self.path.rsplit("/", 1)[1]).is_file():
            body = (self.folder / self.path.rsplit("/", 1)[1]).read_bytes()
            self.reply(200, body, with_body, {"ETag": f'"{len(body):040x}"', "X-Repo-Commit": sha})
        else:
            self.reply(404, b"", with_body, {"X-Error-Code": "RepoNotFound"})

    def reply(self, status, body, with_body, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_a_model_is_had_from_the_hub(copy, ingested, backbone, tmp_path):
    folder = copy(ingested)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, backbone))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    place = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-c", "from peculiar.cli import main; main()", "features", str(folder)]
    command += ["--name", "theirs", "--source", "pretrained", "--model"]
    environment = {**os.environ, **place, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    run = partial(subprocess.run, env=environment, capture_output=True, text=True, timeout=120)
    try:
        done = run([*command, "someone/tiny"])
        assert done.returncode == 0, done.stderr
        assert len(FeatureSet(folder, "theirs")) == 64
        absent = run([*command[:4], "--name", "absent", *command[6:], "someone/absent"])
        assert absent.returncode == 1
        assert "cannot be had from the hub" in absent.stderr
        assert "Traceback" not in absent.stderr
    finally:
        server.shutdown()
        server.server_close()
