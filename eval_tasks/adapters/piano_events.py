"""Events of a piano's MIDI file: notes as they sound, the sustain pedal taken into account.

Source: what hear-preprocess takes from note_seq 0.0.5 (``midi_file_to_note_sequence``, then
``apply_sustain_control_changes``), whose events on the same file these must equal. The notes themselves
come from pretty_midi, in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pretty_midi

from eval_tasks.errors import UserError

PEDAL = 64  # the controller's number
PEDAL_IS_DOWN = 64  # from this value on
LOWEST_PITCH, HIGHEST_PITCH = 21, 108  # the piano's keys
# What happens at one time happens in this order.
DOWN, UP, NOTE_ON, NOTE_OFF = range(4)


@dataclass
class Note:
    """Compared by value, as note_seq's are: of two equal notes either may stand for the other."""

    pitch: int
    velocity: int
    start_s: float
    end_s: float


Happening = tuple[float, int, Note | None]


def happenings(notes: Sequence[Note], pedal: Sequence[tuple[float, int]]) -> list[Happening]:
    """What happens, in order: time in seconds, kind, note. ``pedal``: times and values of its messages."""
    found: list[Happening] = [(note.start_s, NOTE_ON, note) for note in notes]
    found += [(note.end_s, NOTE_OFF, note) for note in notes]
    found += [(time_s, DOWN if value >= PEDAL_IS_DOWN else UP, None) for time_s, value in pedal]
    return sorted(found, key=lambda happening: happening[:2])


def sustain(notes: Sequence[Note], events: Sequence[Happening], end_s: float) -> list[Note]:
    """The notes of one instrument, those that the pedal holds made longer.

    While the pedal is down a note sounds until the pedal goes up or its key is struck again. A note that
    is struck again at the time of its own start is left out.

    Args:
        notes: as played; they are changed.
        events: ``happenings`` of these notes.
        end_s: of the piece, for what is never released.
    """
    kept, down = list(notes), False
    sounding: list[Note] = []
    for time_s, kind, note in events:
        if kind == DOWN:
            down = True
        elif kind == UP:
            down = False
            released = [held for held in sounding if held.end_s < time_s]
            # A key that is still pressed goes on.
            sounding = [held for held in sounding if held.end_s >= time_s]
            for held in released:
                held.end_s = time_s
        elif note is None:
            raise AssertionError("a note's start or end without the note")
        elif kind == NOTE_ON:
            for held in [held for held in sounding if down and held.pitch == note.pitch]:
                held.end_s = time_s
                if held.start_s == time_s:
                    kept.remove(held)
            sounding = [held for held in sounding if not down or held.pitch != note.pitch]
            sounding.append(note)
        elif not down and note in sounding:
            sounding.remove(note)
    for held in sounding:
        held.end_s = end_s
    return kept


def piano_events(path: Path) -> list[dict[str, Any]]:
    """Events of a MIDI file on the piano's keys: pitch as label, start and end in ms.

    Raises:
        UserError: not a MIDI file.
    """
    try:
        instruments = pretty_midi.PrettyMIDI(str(path)).instruments
    except Exception as error:  # pretty_midi and mido raise anything from OSError to KeyError
        raise UserError(f"{path}: not to be read as MIDI ({error!r}): fetch the archive again") from None
    parts = []
    for instrument in instruments:
        played = [] if instrument.is_drum else instrument.notes
        notes = [Note(note.pitch, note.velocity, float(note.start), float(note.end)) for note in played]
        pedal = [(float(c.time), c.value) for c in instrument.control_changes if c.number == PEDAL]
        parts.append((notes, happenings(notes, pedal)))
    end_s = max((events[-1][0] for _, events in parts if events), default=0.0)
    return [
        {"label": note.pitch, "start": note.start_s * 1000.0, "end": note.end_s * 1000.0}
        for notes, events in parts
        for note in sustain(notes, events, end_s)
        if LOWEST_PITCH <= note.pitch <= HIGHEST_PITCH
    ]
