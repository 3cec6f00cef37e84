"""Twenty experts label at once through HTTP, and the server is killed twice: labels a second, latencies, what is kept.

    python benchmarks/explorer_labels.py FOLDER [--n-objects 10000] [--n-labels 10000]

Makes an atlas of noise in FOLDER, anew, and starts `peculiar explore` on it with a token for each expert. Every client
does as the page does: it sends what was said in order, a few at once, and sends again what was not acknowledged; one
answer in fifty is lost on purpose. In the end the log must hold every acknowledged label once, and the vote of every
expert on every object must be the last that was said. tests/explorer/test_many_experts.py runs the same on 64 objects.
"""

import argparse
import http.client
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

N_EXPERTS = 20
MOST_AT_ONCE = 8  # labels in one request; somebody who is quick with the keys has two or three waiting
AGAIN, BACK, LOST = 0.15, 0.05, 0.02  # second thoughts, labels taken back, answers that do not arrive
CLASSES = ("merger", "tidal tail", "star-forming", "lens", "unusual", "artefact", "normal")
STARTS_WITHIN = 60.0  # seconds
COMMAND = (sys.executable, "-c", "from peculiar.cli import main; main()", "explore")


class Server:
    """`peculiar explore` in a process of its own, on one port however often it is killed."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log, self.port = folder, log, 0
        self.process: subprocess.Popen[bytes] | None = None
        self.output: IO[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        self.log.unlink(missing_ok=True)
        self.output = self.log.open("wb")
        options = [str(self.folder), "--tokens", "--no-browser", "--port", str(self.port)]
        self.process = subprocess.Popen([*COMMAND, *options], stdout=self.output, stderr=subprocess.STDOUT)
        ends = time.monotonic() + STARTS_WITHIN
        while (place := (said := self.log.read_text()).find("http://127.0.0.1:")) < 0 or "/ " not in said[place:]:
            if self.process.poll() is not None or time.monotonic() > ends:
                raise OSError(f"the server did not start:\n{said}")
            time.sleep(0.02)
        self.port = int(said[place:].split(":")[2].split("/")[0])

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self.process is not None and self.output is not None:
            self.process.kill()
            self.process.wait()
            self.output.close()
            self.process = self.output = None


@dataclass
class Told:
    """What the clients were told, and how long it took."""

    n_acknowledged: int = 0
    numbers: dict[str, int] = field(default_factory=dict)  # of events, by event_id
    seconds: list[float] = field(default_factory=list)
    n_again: int = 0
    lock: Lock = field(default_factory=Lock)


def thoughts(expert: str, object_ids: Sequence[int], n: int, seed: int) -> list[dict[str, Any]]:
    """What an expert says, in order: mostly of new objects, sometimes anew or no more of one before."""
    draw = random.Random(f"{expert} {seed}")
    left, seen, said = draw.sample(list(object_ids), len(object_ids)), [], []
    for place in range(n):
        is_again = seen and (not left or draw.random() < AGAIN)
        seen.append(draw.choice(seen) if is_again else left.pop())
        label = None if draw.random() < BACK else draw.choice(CLASSES)
        at = f"2026-11-22T12:{place // 60 % 60:02}:{place % 60:02}.000+00:00"
        said.append({"event_id": f"{expert}-{place:06}", "object_id": str(seen[-1]), "label": label, "said_at": at})
    return said


def label(server: Server, token: str, said: list[dict[str, Any]], told: Told, seed: int) -> None:
    """Say all of it, in order, and again what was not acknowledged."""
    draw, left, connection = random.Random(seed), list(said), None
    headers = {"authorization": f"Bearer {token}", "x-peculiar": "1", "content-type": "application/json"}
    while left:
        part = left[: draw.randint(1, MOST_AT_ONCE)]
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            began = time.perf_counter()
            connection.request("POST", "/api/labels", json.dumps({"said": part}), headers)
            if draw.random() < LOST:
                raise ConnectionError("lost on purpose")
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status not in (429, 503):
                assert answer.status == 200, body
                assert not body["refused"], body
                with told.lock:
                    told.seconds.append(time.perf_counter() - began)
                    told.numbers |= {each["event_id"]: each["event"] for each in body["stored"]}
                    told.n_acknowledged = len(told.numbers)
                left = left[len(part) :]
                continue
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            if connection is not None:
                connection.close()
            connection = None
        with told.lock:
            told.n_again += len(part)
        time.sleep(0.02)
    if connection is not None:
        connection.close()


def label_all(folder: Path, log: Path, object_ids: Sequence[int], n_labels: int, *, n_kills: int = 2) -> dict[str, Any]:
    """Let all experts label at once, kill the server in between, and check what is kept; figures of it.

    Raises
    ------
    AssertionError
        A label that was acknowledged is not there, or is there twice, or an expert's last word does not count.
    """
    from peculiar import Atlas

    labels = Atlas(folder).labels
    experts = [f"expert {place:02}" for place in range(N_EXPERTS)]
    tokens = {each: labels.add_expert(each) for each in experts}
    said = {each: thoughts(each.replace(" ", "-"), object_ids, n_labels // N_EXPERTS, 0) for each in experts}
    server, told, n_said = Server(folder, log), Told(), sum(map(len, said.values()))
    server.start()
    try:
        began, away = time.perf_counter(), 0.0
        with ThreadPoolExecutor(N_EXPERTS) as pool:
            clients = [
                pool.submit(label, server, tokens[each], said[each], told, seed) for seed, each in enumerate(experts)
            ]
            for kill in range(n_kills):
                while told.n_acknowledged < n_said * (kill + 1) / (n_kills + 1):
                    time.sleep(0.002)
                    for client in clients:
                        if client.done():
                            client.result()
                killed = time.perf_counter()
                server.kill()
                server.start()
                away += time.perf_counter() - killed
            for client in clients:
                client.result()
        seconds = time.perf_counter() - began
    finally:
        server.kill()
    checked = check(folder, said, told.numbers)
    p50, p99 = np.percentile(told.seconds, [50, 99]) * 1_000
    return {
        **{"labels_per_second": n_said / (seconds - away), "p50_ms": p50, "p99_ms": p99, "seconds": seconds},
        **{"seconds_away": away, "n_requests": len(told.seconds), "n_sent_again": told.n_again, **checked},
    }


def check(folder: Path, said: dict[str, list[dict[str, Any]]], numbers: dict[str, int]) -> dict[str, int]:
    """Counts of what is kept, when all of it is as it was said and acknowledged."""
    from peculiar import Atlas

    labels = Atlas(folder).labels
    events = labels.events().to_pylist()
    kept = {each["event_id"]: each for each in events}
    assert len(kept) == len(events), "an event is there twice"
    assert {name: each["event"] for name, each in kept.items()} == numbers, "not what was acknowledged"
    wanted: dict[tuple[str, int], str | None] = {}
    for expert, mine in said.items():
        order = [kept[each["event_id"]]["event"] for each in mine]
        assert order == sorted(order), "not in the order in which it was said"
        for each in mine:
            there = kept[each["event_id"]]
            assert (there["expert"], there["object_id"]) == (expert, int(each["object_id"]))
            assert there["label"] == each["label"]
            wanted[expert, int(each["object_id"])] = each["label"]
    votes = {(each["expert"], each["object_id"]): each["label"] for each in labels.votes().to_pylist()}
    assert votes == {key: name for key, name in wanted.items() if name is not None}, "the last word does not count"
    return {"n_acknowledged": len(numbers), "n_events": len(events), "n_votes": len(votes), "n_pairs": len(wanted)}


def made_atlas(folder: Path, n_objects: int) -> np.ndarray:
    """An atlas of noise, ranked by networks that learnt nothing; its ids."""
    from peculiar import Atlas

    folder.mkdir(parents=True)
    np.save(folder / "noise.npy", np.random.default_rng(0).integers(0, 256, (n_objects, 32, 32, 3), np.uint8))
    atlas = Atlas(folder / "atlas")
    atlas.ingest(folder / "noise.npy")
    small = {"width": 2, "batch_size": 8, "save_every": 1}
    atlas.train_gan(n_latent=4, n_steps=1, **small)
    atlas.train_encoder(n_steps=1, **small)
    atlas.score(n_latent_steps=1)
    atlas.rank(n_reconstructions=1)
    return atlas.ranking().object_ids


def main() -> None:
    from environment import machine_line

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-objects", type=int, default=10_000)
    parser.add_argument("--n-labels", type=int, default=10_000)
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    print(machine_line())
    object_ids = made_atlas(options.folder, options.n_objects)
    found = label_all(options.folder / "atlas", options.folder / "server.log", object_ids.tolist(), options.n_labels)
    print(f"{N_EXPERTS} experts, {len(object_ids):,} objects, the server killed twice")
    for name, value in found.items():
        print(f"{name:20s} {value:12,.1f}" if isinstance(value, float) else f"{name:20s} {value:12,}")


if __name__ == "__main__":
    main()
