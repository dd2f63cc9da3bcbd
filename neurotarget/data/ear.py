"""An ear: sound to spikes of 700 fibres, after the pipeline of the Heidelberg data sets.

Cramer, Stradmann, Schemmel, Zenke, "The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural
Networks", 2020: basilar membrane -> inner hair cells -> bushy cells. Written from the papers and simplified so that a
word takes milliseconds instead of minutes:

* Basilar membrane. Channel k sits at x = 3.5 cm * (k + 1/2) / 700 from the base and resonates at
  sqrt(E0 / m) / (2 pi) * exp(-a x / 2), with the stiffness E0 = 1e9 g/(cm^2 s^2), mass m = 0.05 g/cm^2 and
  a = 3 / cm of their membrane: 22.4 kHz at unit 0 down to 119 Hz at unit 699. In place of the travelling wave each
  channel is a linear filter with the magnitude of a fourth-order gammatone one equivalent rectangular bandwidth
  (Glasberg and Moore 1990) wide, and zero phase. Above 1 kHz displacement falls as 1/f.
* Inner hair cell: Meddis, "Simulation of mechanical to neural transduction in the auditory receptor", JASA 79 (1986):
  permeability k = g (s + A) / (s + A + B); dq/dt = y (1 - q) + x w - k q; dw/dt = r c - x w;
  dc/dt = k q - (l + r) c. The cleft c settles within 1 / (l + r) = 0.11 ms, less than a time step, so that
  c = k q / (l + r). Below 500 Hz s is the half-wave rectified displacement, which keeps the phase locking; above,
  where a time step cannot follow it, its mean over a cycle (envelope / pi).
* Bushy cell: a leaky integrate-and-fire neuron driven by the cleft contents: deterministic, where the original draws
  release events at random for 40 hair cells and averages.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

SOUND_RATE_HZ = 22_050
CHANNELS = 700
SPIKE_RATE_HZ = 2_000  # time resolution of the spikes: 0.5 ms
BLOCK_STEPS = 200  # utterances are padded to multiples of this, so that few filter banks need computing
TAIL_SECONDS = 0.03  # silence after the sound, for the filters to ring out
LEVEL = 600.0  # root mean square of the sound in the units of Meddis' A and B

LOCKING_LIMIT_HZ = 500.0
DISPLACEMENT_CORNER_HZ = 1_000.0

# Meddis 1986: A, B in units of displacement, the rest per second.
PERMEABILITY_A, PERMEABILITY_B, RELEASE_G = 5.0, 300.0, 2_000.0
REPLENISH_Y, LOSS_L, REPROCESS_X, RETURN_R = 5.05, 2_500.0, 66.31, 6_580.0

MEMBRANE_SECONDS = 0.010
# Spontaneous release alone holds the membrane at this share of its threshold: silent, but close.
REST_SHARE = 0.8


def centre_frequencies() -> np.ndarray:
    """Resonance of each channel in Hz, float64 [700], falling."""
    place_cm = 3.5 * (np.arange(CHANNELS) + 0.5) / CHANNELS
    return np.sqrt(1e9 / 0.05) / (2 * np.pi) * np.exp(-3.0 * place_cm / 2)


@lru_cache(maxsize=16)
def _filter_bank(steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """For an utterance of `steps`: FFT bins [700, steps], their weights [700, steps], length of the sound.

    A band of SPIKE_RATE_HZ around each centre, inverse-transformed at SPIKE_RATE_HZ, gives the analytic signal of a
    channel at the low rate. Channels that keep their phase are not shifted: their band lies around 0 Hz.
    """
    samples = steps * SOUND_RATE_HZ // SPIKE_RATE_HZ
    bin_hz = SPIKE_RATE_HZ / steps
    centre = centre_frequencies()[:, None]
    shift = np.where(centre < LOCKING_LIMIT_HZ, 0, np.rint(centre / bin_hz)).astype(np.int64)
    bins = shift + np.arange(-steps // 2, steps // 2)
    bandwidth_hz = 1.019 * 24.7 * (4.37e-3 * centre + 1)
    weight = (1 + ((bins * bin_hz - centre) / bandwidth_hz) ** 2) ** -2.0
    weight *= np.minimum(1, DISPLACEMENT_CORNER_HZ / centre)
    # Positive frequencies only make the signal analytic; the factor undoes the two transforms' lengths.
    weight *= (bins > 0) & (bins <= samples // 2)
    weight *= 2 * steps / samples
    bins = np.fft.ifftshift(np.clip(bins, 0, samples // 2), axes=1)
    return bins, np.fft.ifftshift(weight, axes=1).astype(np.float32), samples


def displacement(sound: np.ndarray) -> np.ndarray:
    """Rectified membrane displacement, float32 [steps, 700] at SPIKE_RATE_HZ, of a sound [samples]."""
    import scipy.fft  # takes long to import, and what was heard once is kept

    seconds = len(sound) / SOUND_RATE_HZ + TAIL_SECONDS
    steps = -(-int(np.ceil(seconds * SPIKE_RATE_HZ)) // BLOCK_STEPS) * BLOCK_STEPS
    bins, weight, samples = _filter_bank(steps)
    spectrum = scipy.fft.rfft(sound.astype(np.float32), samples)
    analytic = scipy.fft.ifft(spectrum[bins] * weight, axis=1, overwrite_x=True)
    locked = centre_frequencies()[:, None] < LOCKING_LIMIT_HZ
    rectified = np.where(locked, np.maximum(analytic.real, 0), np.abs(analytic) / np.float32(np.pi))
    return np.ascontiguousarray(rectified.T)  # time first: the recursions below read a row per step


def hair_cells(stimulus: np.ndarray) -> tuple[np.ndarray, float]:
    """Transmitter in the cleft, float32 [steps, channels], of a stimulus; and its resting value."""
    step = 1 / SPIKE_RATE_HZ
    drain = LOSS_L + RETURN_R

    def released_share(displaced: np.ndarray) -> np.ndarray:
        # Release during a step empties the pool exponentially: Euler would overshoot, since k * step reaches 1.
        rate = RELEASE_G * (1 - PERMEABILITY_B / (displaced + np.float32(PERMEABILITY_A + PERMEABILITY_B)))
        return np.float32(1 / (step * drain)) * (1 - np.exp(rate * np.float32(-step)))

    cleft = released_share(stimulus)  # of a full pool; scaled by the pool's content below
    resting = float(released_share(np.zeros(1, np.float32))[0])
    pool_at_rest = 1 / (1 + resting * LOSS_L / REPLENISH_Y)
    cleft_at_rest = resting * pool_at_rest
    # The equations above by Euler, with `returning` = step * x * w, and everything in place: a word has 1,000 steps.
    pool = np.full(stimulus.shape[1], pool_at_rest, np.float32)
    returning = np.full(stimulus.shape[1], step * RETURN_R * cleft_at_rest, np.float32)
    scratch = np.empty_like(pool)
    keep_pool, refill = np.float32(1 - step * REPLENISH_Y), np.float32(step * REPLENISH_Y)
    keep_store, recycle = np.float32(1 - step * REPROCESS_X), np.float32(step**2 * REPROCESS_X * RETURN_R)
    emptied = np.float32(step * drain)
    for content in cleft:
        content *= pool
        pool *= keep_pool
        pool += refill
        pool += returning
        pool -= np.multiply(content, emptied, out=scratch)
        returning *= keep_store
        returning += np.multiply(content, recycle, out=scratch)
    return cleft, cleft_at_rest


def bushy_cells(cleft: np.ndarray, cleft_at_rest: float) -> np.ndarray:
    """Spikes, bool [steps, channels], of leaky integrate-and-fire cells with threshold 1 and reset to 0."""
    decay = np.float32(np.exp(-1 / SPIKE_RATE_HZ / MEMBRANE_SECONDS))
    drive = cleft * np.float32(REST_SHARE * (1 - decay) / cleft_at_rest)
    spikes = np.empty(cleft.shape, bool)
    membrane = np.full(cleft.shape[1], REST_SHARE, np.float32)
    for driven, fired in zip(drive, spikes, strict=True):
        membrane *= decay
        membrane += driven
        np.greater_equal(membrane, 1, out=fired)
        membrane[fired] = 0
    return spikes


def hear(sound: np.ndarray, level_decibels: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of a sound.

    sound: [samples] at 22,050 Hz in any unit, not silent: its root mean square is brought to `LEVEL`, then changed by
    `level_decibels`. Returns times in seconds (float32, rising, multiples of 0.5 ms) and units (uint16, 0..699; unit 0
    hears the highest frequency).
    """
    sound = np.asarray(sound, np.float64)
    root_mean_square = np.sqrt(np.mean(sound**2)) if len(sound) else 0.0
    if not root_mean_square > 0:
        raise ValueError("a silent sound has no level to set; expected a sound")
    spikes = bushy_cells(*hair_cells(displacement(sound * (LEVEL / root_mean_square * 10 ** (level_decibels / 20)))))
    steps, units = np.nonzero(spikes)
    return (steps / SPIKE_RATE_HZ).astype(np.float32), units.astype(np.uint16)
