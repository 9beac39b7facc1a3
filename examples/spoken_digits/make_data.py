"""Make the spoken-digits data set: espeak-ng speaks, a filter bank listens, leaky neurons fire.

    python examples/spoken_digits/make_data.py

writes `train.npz` and `test.npz` beside this script, each with `x` [samples, 100, 140] (bool: an
event of a band in a timestep) and `y` [samples] (int64: 0-9 English, 10-19 German). The same
espeak-ng, NumPy and SciPy give the same bytes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.ndimage import uniform_filter1d

HERE = Path(__file__).resolve().parent

WORDS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
}
TAKES = 2  # utterances per voice and word, at different pitch and speed
TEST_VOICES = 25
TRAIN_PER_CLASS, TEST_PER_CLASS = 150, 50

SAMPLE_RATE = 22_050  # of espeak-ng's output
STEPS, BANDS = 100, 140
STEP_SECONDS = 0.007
WINDOW_SECONDS = 0.025
FFT_LENGTH = 2048
LOW_HZ, HIGH_HZ = 80.0, 9_000.0

COMPRESSION = 0.2  # exponent on the power of a band: an ear's range of loudness
NEIGHBOURS, INHIBITION = 25, 0.7  # bands whose mean inhibits the one amid them, and how much
LEAK = 0.8  # of an encoder neuron, per timestep
THRESHOLD = 1.0
GAIN = 2.4  # sets the density of events


@dataclass(frozen=True)
class Utterance:
    """One word to speak: what, by whom, how high, how fast, and where it begins."""

    voice: str
    language: str
    digit: int
    pitch: int
    speed: int
    onset: int

    @property
    def label(self) -> int:
        """Class of the word: the digit, plus 10 for German."""
        return self.digit + 10 * list(WORDS).index(self.language)


def list_voices(espeak: str) -> list[str]:
    """Names of espeak-ng's voice variants, sorted."""
    listing = subprocess.run(
        [espeak, "--voices=variant"], capture_output=True, text=True, check=True
    ).stdout
    # A file name may hold a blank, so cut at the column that the heading marks.
    heading, *rows = listing.splitlines()
    column = heading.index("File")
    files = (row[column:].split("(")[0].strip() for row in rows)
    return sorted(file[file.index("!v/") + 3 :] if "!v/" in file else file for file in files)


def speak(espeak: str, utterance: Utterance) -> NDArray[np.float64]:
    """Waveform of one word, its silence cut away, peak 1."""
    word = WORDS[utterance.language][utterance.digit]
    command = [espeak, "-z", "--stdout", "-v", f"{utterance.language}+{utterance.voice}"]
    command += ["-p", str(utterance.pitch), "-s", str(utterance.speed), word]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    # espeak-ng streams: the sizes in its header are a placeholder that a reader would reject.
    size = len(wav) - 44
    wav = wav[:40] + size.to_bytes(4, "little") + wav[44:]
    wav = wav[:4] + (size + 36).to_bytes(4, "little") + wav[8:]
    rate, samples = wavfile.read(io.BytesIO(wav))
    if rate != SAMPLE_RATE:
        raise click.ClickException(f"espeak-ng spoke at {rate} Hz, expected {SAMPLE_RATE} Hz")
    wave = np.asarray(samples, dtype=np.float64)
    wave /= max(float(np.abs(wave).max()), 1.0)
    loud = np.flatnonzero(np.abs(wave) > 0.02)
    if loud.size == 0:
        raise click.ClickException(f"espeak-ng is silent on {utterance}")
    return wave[loud[0] : loud[-1] + 1]


def mel_filters() -> NDArray[np.float64]:
    """Triangular filters, evenly spaced on the mel scale: [BANDS, FFT_LENGTH // 2 + 1]."""
    low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (LOW_HZ, HIGH_HZ))
    edges = 700.0 * (10.0 ** (np.linspace(low, high, BANDS + 2) / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(FFT_LENGTH, 1.0 / SAMPLE_RATE)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def band_power(wave: NDArray[np.float64], filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compressed power of every band in every timestep, [steps, BANDS], loudest about 1."""
    hop, width = round(STEP_SECONDS * SAMPLE_RATE), round(WINDOW_SECONDS * SAMPLE_RATE)
    # Speech falls by 6 dB per octave; lift the treble so that consonants are heard too.
    wave = np.append(wave[0], wave[1:] - 0.95 * wave[:-1])
    wave = np.concatenate([np.zeros(width // 2), wave, np.zeros(width)])
    frames = np.lib.stride_tricks.sliding_window_view(wave, width)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(width), FFT_LENGTH, axis=1)) ** 2
    power = spectrum @ filters.T / filters.sum(axis=1)
    # The 99.5th percentile: one click must not turn a whole word down.
    return np.asarray((power / np.quantile(power, 0.995)) ** COMPRESSION, dtype=np.float64)


def encode(power: NDArray[np.float64], onset: int) -> NDArray[np.bool_]:
    """Events of one leaky integrate-and-fire neuron per band: [STEPS, BANDS], bool."""
    events = np.zeros((STEPS, BANDS), dtype=np.bool_)
    # Neighbours inhibit: each band hears what it has above a wide average around it.
    around = uniform_filter1d(power, NEIGHBOURS, axis=1, mode="nearest")
    drive = GAIN * np.maximum(0.0, power - INHIBITION * around)
    membrane = np.zeros(BANDS)
    for step, current in enumerate(drive[: STEPS - onset]):
        membrane = LEAK * membrane + current
        events[step + onset] = membrane >= THRESHOLD
        membrane[events[step + onset]] = 0.0
    return events


def utterances(voices: list[str], rng: np.random.Generator) -> Iterator[Utterance]:
    """Every voice says every word TAKES times, at random pitch, speed and onset."""
    for voice in voices:
        for language in WORDS:
            for digit in range(10):
                for _ in range(TAKES):
                    pitch, speed = int(rng.integers(30, 71)), int(rng.integers(130, 201))
                    yield Utterance(voice, language, digit, pitch, speed, int(rng.integers(0, 11)))


def draw(voices: list[str], per_class: int, rng: np.random.Generator) -> list[Utterance]:
    """`per_class` utterances of each class by these voices, in random order."""
    pool = list(utterances(voices, rng))
    order = [pool[i] for i in rng.permutation(len(pool))]
    chosen: list[Utterance] = []
    for label in range(20):
        chosen += [item for item in order if item.label == label][:per_class]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def make_set(espeak: str, chosen: list[Utterance], name: str) -> dict[str, NDArray[np.generic]]:
    """Speak and encode: `x` [samples, STEPS, BANDS] bool and `y` [samples] int64."""
    filters = mel_filters()
    terminal = sys.stderr.isatty()
    with click.progressbar(chosen, label=name, file=sys.stderr, hidden=not terminal) as items:
        x = [encode(band_power(speak(espeak, item), filters), item.onset) for item in items]
    return {"x": np.stack(x), "y": np.array([item.label for item in chosen], dtype=np.int64)}


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=HERE)
@click.option("--seed", default=0, show_default=True, help="of voices, pitch, speed and onset")
def main(out: Path, seed: int) -> None:
    """Make train.npz and test.npz (voices disjoint) with espeak-ng."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        raise click.ClickException(
            "espeak-ng is not installed; on Debian: apt install espeak-ng "
            "(the data sets in the repository do without)"
        )
    rng = np.random.default_rng(seed)
    voices = list_voices(espeak)
    shuffled = [voices[i] for i in rng.permutation(len(voices))]
    test_voices, train_voices = shuffled[:TEST_VOICES], shuffled[TEST_VOICES:]
    for name, names, count in (
        ("train", train_voices, TRAIN_PER_CLASS),
        ("test", test_voices, TEST_PER_CLASS),
    ):
        arrays = make_set(espeak, draw(names, count, rng), name)
        np.savez_compressed(out / f"{name}.npz", **arrays)
        x = arrays["x"]
        click.echo(f"{name}: {len(x)} words, {len(names)} voices, {x.mean():.2%} of x are events")


if __name__ == "__main__":
    main()
