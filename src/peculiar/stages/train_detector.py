"""Train the detector of foreign light on the survey's own images: what in an image is not of its kind, and where."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.run import Run, Track, at_least, begin, finish, home_of, positive, quiet, read_run
from peculiar.survey import ShuffledImages, Survey

if TYPE_CHECKING:
    from peculiar.engine import Machine
    from peculiar.networks.foreign import DetectorTraining

log = logging.getLogger(__name__)
NAME = "detector"
LEAST_IMAGES = 32  # fewer do not say what is usual


@dataclass(frozen=True, kw_only=True)
class TrainDetectorConfig:
    """What `train-detector` can be told."""

    width: Annotated[int, "channels of the first layer"] = 24
    side: Annotated[int, "pixels that images are brought to, a multiple of 8"] = 64
    n_steps: Annotated[int, "updates; give a larger number to train on"] = field(default=600, compare=False)
    batch_size: Annotated[int, "images a batch, each seen as it is and with foreign light"] = 96
    learning_rate: Annotated[float, "Adam's rate"] = 1e-3
    zoom: Annotated[tuple[float, ...], "least and largest part of an image's side that is shown"] = (0.6, 1.0)
    gain: Annotated[float, "deviation of the log brightness that an image is shown with"] = 0.1
    snr: Annotated[tuple[float, ...], "least and largest signal to noise of planted light, a pixel"] = (0.7, 25.0)
    save_every: Annotated[int, "steps between checkpoints"] = field(default=200, compare=False)
    seed: Annotated[int, "seed of first weights, order and what is planted"] = 0
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "width", "n_steps", "save_every")
        positive(self, "learning_rate")
        at_least(self, 0, "gain")
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size must be at least 2, as one galaxy is pasted over another, got {self.batch_size}"
            )
        if self.side < 16 or self.side % 8:
            raise ValueError(f"side must be a multiple of 8, 16 or more, got {self.side}")
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise ValueError(f"zoom must be two numbers, ascending, above 0 and to 1, got {self.zoom}")
        if len(self.snr) != 2 or not 0 < self.snr[0] <= self.snr[1]:
            raise ValueError(f"snr must be two numbers, ascending, above 0, got {self.snr}")


PRESETS = {
    # For a GPU and a hundred thousand images; no paper's, ours.
    "paper": TrainDetectorConfig(width=64, side=96, n_steps=20_000, batch_size=256, save_every=1_000),
    "small": TrainDetectorConfig(),
}


def train_detector(
    folder: Path, config: TrainDetectorConfig, *, name: str = NAME, replace: bool = False, track: Track = quiet
) -> Run:
    """Train `networks/<name>` of the atlas in `folder`, or go on where it stopped.

    Raises
    ------
    ValueError
        There are too few images.
    Diverged
        A loss was no number; the last good checkpoint stands.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    if len(survey) < LEAST_IMAGES:
        raise ValueError(f"a detector learns from {LEAST_IMAGES} images or more, and {survey.path} has {len(survey)}")
    home, machine = home_of(folder, "networks", name), engine.machine(config.device)
    training, form = _prepare(survey, config, machine)
    inputs = {"survey": survey.version, "n_objects": len(survey)}
    ingested = read_run(folder / "survey")
    reads = {"survey": ingested.identity} if ingested else {}
    run = begin(home, "train-detector", config, inputs=inputs, reads=reads, replace=replace)
    log.info("%d objects, %s", len(survey), machine)
    reached = engine.train_in(
        home,
        training,
        {"detector": training.average},
        {"detector": form},
        n_steps=config.n_steps,
        save_every=config.save_every,
        description="training detector",
        track=track,
    )
    return finish(home, run, **reached, machine=str(machine))


def _prepare(
    survey: Survey, config: TrainDetectorConfig, machine: "Machine"
) -> "tuple[DetectorTraining, dict[str, Any]]":
    """The network with its first weights, and the numbers that rebuild it."""
    import torch

    from peculiar.networks.contrastive import Views
    from peculiar.networks.foreign import Detector, DetectorTraining, ForeignLight
    from peculiar.sky.injection import STRETCH

    form: dict[str, Any] = {"channels": survey.form.channels, "width": config.width, "side": config.side}
    torch.manual_seed(config.seed)
    detector = Detector(**form)
    machine.place(detector)
    (zoom_low, zoom_high), (snr_low, snr_high) = config.zoom, config.snr
    images = ShuffledImages(survey, config.batch_size, config.seed)
    training = DetectorTraining(
        detector,
        partial(machine.training_batch, images, is_augmented=False),
        learning_rate=config.learning_rate,
        seed=config.seed,
        precision=machine.precision,
        views=Views(zoom=(zoom_low, zoom_high), gain=config.gain, tint=0.0, noise=0.0),
        light=ForeignLight(stretch=STRETCH, snr=(snr_low, snr_high)),
    )
    return training, form
