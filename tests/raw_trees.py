"""Raw data sets of full size, as far as names and labels go: files without content, called as published.

Where the published names are known they are these; elsewhere they have their form and their number.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import soundfile

CREMA_D_SENTENCES = [
    "DFA",
    "IOM",
    "ITH",
    "ITS",
    "IWL",
    "IWW",
    "MTI",
    "TAI",
    "TIE",
    "TSI",
    "WSI",
]  # IEO has levels
EMOTIONS = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]
# Of 91 actors times 82 recordings these were never published.
CREMA_D_ABSENT = {
    "1002_TIE_NEU_XX",
    "1076_ITS_NEU_XX",
    *(f"1008_WSI_{emotion}_XX" for emotion in EMOTIONS),
    *(f"1009_MTI_{emotion}_XX" for emotion in EMOTIONS),
    *(f"1019_ITH_{emotion}_XX" for emotion in EMOTIONS),
}
GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
SPEAKERS = ["jackson", "nicolas", "theo", "yweweler", "george"]
STROKES, TONICS = (
    ["bheem", "cha", "dheem", "dhin", "num", "ta", "tha", "tham", "thi", "thom"],
    ["b", "c", "csh", "d", "dsh", "e"],
)


def touch(root: Path, names: Iterable[str]) -> None:
    folders = set()
    for name in names:
        path = root / name
        if path.parent not in folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
        path.touch()


def number_of(*words: object) -> int:
    """A number that looks drawn, and is always the same."""
    return int(hashlib.sha1(repr(words).encode()).hexdigest()[:8], 16)


def write_table(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def esc50(root: Path) -> None:
    rows: list[dict[str, object]] = [
        {"filename": f"{fold}-{100000 + number}-A-{kind}.wav", "fold": fold, "category": f"kind{kind:02d}"}
        for number, (fold, kind, _) in enumerate(product(range(1, 6), range(50), range(8)))
    ]
    write_table(root / "ESC-50-master" / "meta" / "esc50.csv", rows)
    touch(root / "ESC-50-master" / "audio", (str(row["filename"]) for row in rows))


def gtzan(root: Path) -> None:
    touch(root / "genres", (f"{genre}/{genre}.{number:05d}.wav" for genre in GENRES for number in range(100)))


def gtzan_music_speech(root: Path) -> None:
    names = [f"{kind}_wav/{kind[0]}{number:02d}.wav" for kind in ("music", "speech") for number in range(64)]
    touch(root / "music_speech", names)


def crema_d(root: Path) -> None:
    names = [
        f"{actor}_{sentence}_{emotion}_XX"
        for actor, sentence, emotion in product(range(1001, 1092), CREMA_D_SENTENCES, EMOTIONS)
    ]
    for actor, emotion in product(range(1001, 1092), EMOTIONS):
        levels = ["XX"] if emotion == "NEU" else ["LO", "MD", "HI"]
        names += [f"{actor}_IEO_{emotion}_{level}" for level in levels]
    touch(root / "AudioWAV", (f"{name}.wav" for name in names if name not in CREMA_D_ABSENT))


def spoken_digit(root: Path) -> None:
    names = (f"{d}_{speaker}_{number}.wav" for d in range(10) for speaker in SPEAKERS for number in range(50))
    touch(root / "free-spoken-digit-dataset-1.0.9" / "recordings", names)


def libricount(root: Path) -> None:
    touch(
        root / "test",
        (f"{count}_{number_of(count, n) % 16**6:06x}{n:03x}.wav" for count in range(11) for n in range(520)),
    )


def vocal_imitation(root: Path) -> None:
    rows: list[dict[str, object]] = []
    for number in range(11242):
        sound = number % 302
        name = f"{sound:03d}Animal_Cat_Growling-{10**15 + number_of(number)}.wav"
        rows.append(
            {
                "imitation_filename": name,
                "reference_filename": f"{sound:03d}Animal_Cat_Growling_reference.wav",
                "included": number < 5601,
            }
        )
    base = root / "VocalImitationSet"
    write_table(base / "vocal_imitations.txt", rows, "\t")
    for row in rows:
        folder = "included" if row["included"] else "excluded"
        row["path"] = f"vocal_imitations/{folder}/{row['imitation_filename']}"
    touch(base, (str(row["path"]) for row in rows))


def vox_lingua_top10(root: Path) -> None:
    # 33 languages: 94 to 102 recordings of the ten most frequent (972 in all), fewer of the others.
    counts = [102, 101, 100, 99, 98, 97, 96, 95, 94, 90] + [28] * 16 + [27] * 7
    for number, count in enumerate(counts):
        language = f"{'abcdefghijklmnopqrstuvwxyz'[number % 26]}{'aeiou'[number // 26]}"
        touch(root / language, (f"{number_of(language, n):08x}__U__S{n}---0010.wav" for n in range(count)))


def beijing_opera(root: Path) -> None:
    counts = {"bangu": 59, "daluo": 50, "naobo": 62, "xiaoluo": 65}
    names = [f"{kind}-{number:02d}" for kind, count in counts.items() for number in range(count)]
    touch(
        root / "beijing_opera_percussion_instrument_1.0",
        (f"{222126 + n}__ajaysm__{name}.wav" for n, name in enumerate(names)),
    )


def mridangam(root: Path) -> None:
    kinds = list(product(STROKES, TONICS))
    names = [f"{kinds[number % 60][0]}-{kinds[number % 60][1]}-{number // 60:03d}" for number in range(6977)]
    touch(
        root / "mridangam_stroke_1.5",
        (
            f"{name.split('-')[1].upper()}/{224722 + n}__akshaylaya__{name}.wav"
            for n, name in enumerate(names)
        ),
    )


def fsd50k(root: Path) -> None:
    """Ground truth only, and the names of the folders: see the test."""
    too_long = [
        "83298",
        "83299",
        "121351",
        "121426",
        "121471",
        "121472",
        "124796",
        "124797",
        "124800",
        "124834",
        "124858",
        "397150",
    ]
    dev: list[dict[str, object]] = []
    for number in range(40966):
        fname = too_long[number] if number < len(too_long) else str(500000 + number)
        split = "val" if 12 <= number < 12 + 4170 else "train"
        dev.append({"fname": fname, "labels": labels_of(number), "mids": "", "split": split})
    evaluation: list[dict[str, object]] = [
        {"fname": str(600000 + number), "labels": labels_of(number), "mids": ""} for number in range(10231)
    ]
    write_table(root / "FSD50K.ground_truth" / "dev.csv", dev)
    write_table(root / "FSD50K.ground_truth" / "eval.csv", evaluation)
    for part in ("dev", "eval"):
        (root / f"FSD50K.{part}_audio").mkdir()


def labels_of(number: int) -> str:
    return ",".join(f"Kind_{(number * step) % 200:03d}" for step in range(1, 2 + number % 3))


def beehive_states(root: Path) -> None:
    days = {"Hive1 12_06_2018_": 140, "Hive1 31_05_2018_NO_": 144, "Hive3_14_07_2017_NO_": 148}
    for day, count in {**days, "Hive3_28_07_2017_": 144}.items():
        times = (f"{number // 6:02d}_{number % 6}0_00" for number in range(count))
        touch(root / day.strip("_"), (f"{day}QueenBee____{time}.wav" for time in times))


def nsynth(root: Path) -> None:
    """More notes of each split than any mode keeps, but of the test split, which has as many as NSynth's."""
    for split, instruments, notes in (("train", 480, 88), ("valid", 60, 88), ("test", 47, 88)):
        names = {
            f"{split}bass_acoustic_{instrument:03d}-{21 + pitch:03d}-100": {"pitch": 21 + pitch}
            for instrument, pitch in product(range(instruments), range(notes))
        }
        if split == "test":  # 4096, 36 of them out of the piano's keys
            names = dict(list(names.items())[:4060])
            names.update({f"low_acoustic_{number:03d}-020-100": {"pitch": 20} for number in range(36)})
        for name, note in names.items():
            note["note_str"] = name  # type: ignore[assignment]
        file = root / f"nsynth-{split}" / "examples.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(names))


def maestro(root: Path) -> None:
    """The table only: see the test."""
    rows: list[dict[str, object]] = [
        {
            "split": "train",
            "midi_filename": f"2018/MIDI-Unprocessed_{number:04d}_wav.midi",
            "audio_filename": f"2018/MIDI-Unprocessed_{number:04d}_wav.wav",
            "duration": 150.0,
        }
        for number in range(1276)
    ]
    write_table(root / "maestro-v3.0.0" / "maestro-v3.0.0.csv", rows)


def speech_commands(root: Path) -> None:
    """The published numbers: 84,843 words to train with, 9,981 to validate, 4,890 to test, 789 of silence."""
    train, test = root / "speech_commands_v0.02", root / "speech_commands_test_set_v0.02"
    words = [
        *["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"],
        *(f"word{number:02d}" for number in range(25)),
    ]
    names = [f"{words[number % 35]}/{number_of(number):08x}_nohash_{number}.wav" for number in range(105829)]
    touch(train, names)
    (train / "validation_list.txt").write_text("\n".join(names[:9981]) + "\n")
    (train / "testing_list.txt").write_text("\n".join(names[9981 : 9981 + 11005]) + "\n")
    tested = [*words[:10], "_silence_", "_unknown_"]
    touch(test, (f"{tested[n % 12]}/{number_of('t', n):08x}_nohash_{n}.wav" for n in range(4890)))
    # Eight frames are a second: only their number matters.
    for name, halves in {"running_tap": 121, "doing_the_dishes": 188, "miaowing": 120, "pink": 360}.items():
        path = train / "_background_noise_" / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, [0.0] * (4 * halves + 5), 8)


TREES: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        esc50,
        gtzan,
        gtzan_music_speech,
        crema_d,
        spoken_digit,
        libricount,
        vocal_imitation,
        vox_lingua_top10,
        beijing_opera,
        mridangam,
        fsd50k,
        beehive_states,
        nsynth,
        maestro,
        speech_commands,
    )
}
