"""How ``hear_msss.audio`` reads a sound file: containers, decoders, joined files."""
