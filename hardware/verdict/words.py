"""What a report calls the samples and steps of its data: an utterance has steps, an image of events has frames."""

from __future__ import annotations

from dataclasses import dataclass

SPEECH = ("synth", "gsc", "shd", "ssc", "fsdd", "wav")
EVENT_IMAGES = ("nmnist", "cifar10dvs")
IMAGE_AXES = 5  # [samples, steps, channels, height, width]


@dataclass(frozen=True)
class Words:
    """Nouns for one kind of data.

    Attributes:
        sample, samples: one of them, and several.
        a_sample: with its article.
        steps: of a sample.
    """

    sample: str
    samples: str
    a_sample: str
    steps: str


UTTERANCE = Words("utterance", "utterances", "an utterance", "steps")
IMAGE = Words("image", "images", "an image", "frames")
GESTURE = Words("gesture", "gestures", "a gesture", "frames")
SAMPLE = Words("sample", "samples", "a sample", "steps")


def words_of(spec: str, axes: int) -> Words:
    """The nouns for an INPUT.

    Args:
        spec: as it was given; a file of arrays says nothing of its kind, so that its shape decides.
        axes: of its frames [samples, steps, ...].
    """
    kind = spec.partition("?")[0].partition(":")[0]
    if kind in SPEECH:
        return UTTERANCE
    if kind == "dvsgesture":
        return GESTURE
    return IMAGE if kind in EVENT_IMAGES or axes == IMAGE_AXES else SAMPLE
