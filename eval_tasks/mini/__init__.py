"""Three small HEAR-format tasks that come with the package: the mini tasks.

They mirror the three probes of the paper (spoken words, sound events, pitch) on a scale that two
cores finish in minutes, and were rendered with open tools by ``python -m eval_tasks.mini.render``.
"""

from pathlib import Path

TASKS_DIR = Path(__file__).parent / "tasks"
MINI_TASKS = ("mini_keywords-v1-small", "mini_pitch-v1-small", "mini_events-v1-small")
