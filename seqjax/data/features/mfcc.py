"""What an ear hears of a recording every 10 ms: 39 features, by librosa.

Frame t is the samples from t·10 ms on, 25 ms of them; a last window that is not whole is left out.
Features 0-11 are mel-frequency cepstral coefficients 1-12 (of 26 triangular filters on HTK's mel
scale, after a pre-emphasis of 0.97, with Hamming windows), 12 is the logarithm of the window's
energy; then their first and their second derivatives, each over 5 frames. As librosa does by default,
filters have the same area (Slaney), and mel powers more than 80 dB below the recording's loudest count
as 80 dB below it.
"""

import math
from typing import Any

import numpy as np

from seqjax.errors import InputError

FEATURES = 39
ENERGY = 12  # the place of the log energy, in nats
WINDOW = 0.025  # seconds
STEP = 0.010


def window_and_step(rate: int) -> tuple[int, int]:
    """The samples of a window and of the step to the next one."""
    return round(WINDOW * rate), round(STEP * rate)


def mfcc(samples: np.ndarray, rate: int) -> np.ndarray:
    """The features `[T, 39]` float32 of a recording.

    Args:
      samples: `[N]` int16.
      rate: samples per second.

    Raises:
      InputError: if librosa is not installed, or the recording is shorter than one window.
    """
    librosa = _librosa()
    window, step = window_and_step(rate)
    if len(samples) < window:
        raise InputError(
            f"a recording of {len(samples)} samples is shorter than a window of {window}."
        )
    signal = samples.astype(np.float32) / 2**15
    cepstrum = librosa.feature.mfcc(
        y=librosa.effects.preemphasis(signal, coef=0.97, zi=[0.0]),
        sr=rate,
        n_mfcc=ENERGY + 1,
        n_fft=window,
        hop_length=step,
        window="hamming",
        center=False,
        n_mels=26,
        htk=True,
    )
    frames = np.lib.stride_tricks.sliding_window_view(signal, window)[::step]
    energy = np.log(np.maximum((frames**2).sum(-1), window * 1e-10))  # 100 dB below full scale
    static = np.concatenate([cepstrum[1:], energy[None]])
    derivatives = [
        librosa.feature.delta(static, width=5, order=order, mode="nearest") for order in (1, 2)
    ]
    return np.concatenate([static, *derivatives]).T.astype(np.float32)


def decibels(log_energy: np.ndarray) -> np.ndarray:
    """Log energies in nats as dB below the loudest of them."""
    return (log_energy - log_energy.max()) * (10 / math.log(10))


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise InputError(
            "speech needs librosa: pip install -e '.[audio]' in a clone of seqjax."
        ) from error
    return librosa
