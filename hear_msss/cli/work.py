"""What one process of ``embed`` does: a group of sounds to their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import torch

from hear_msss.api import load_model
from hear_msss.cli.jobs import EmbedSettings, Group, Job, Outcome
from hear_msss.cli.shards import open_shard
from hear_msss.cli.writers import Block, counted, write_file
from hear_msss.collection.batching import Rows, embed_clips
from hear_msss.collection.sources import DISK_ERRORS, Decoded, Source, decode_ahead
from hear_msss.model import MSSS


@lru_cache(maxsize=1)
def model_of(weights: str, options: str, device: str) -> MSSS:
    return load_model(weights, **json.loads(options)).to(device)


def embed_alone(group: Group) -> list[Outcome]:
    """For a process of its own, which leaves the other cores to others."""
    torch.set_num_threads(1)
    return list(embed_group(group))


def embed_group(group: Group) -> Iterator[Outcome]:
    """The outcome of each job, as they are done; those of a shard when it is whole."""
    settings = group.settings
    model = model_of(settings.weights, settings.options, settings.device)
    wanted = [job for job in group.jobs if job.place not in group.bad]
    embedded = _embedded(wanted, model, settings)
    if group.is_trial:
        yield from (Outcome(job) for job, _, _ in embedded)
    elif settings.shard_files:
        yield from _embed_shard(group, embedded, model)
    else:
        for job, item, blocks in embedded:
            yield _embed_file(job, item, blocks, model, settings)


def _embedded(
    jobs: list[Job], model: MSSS, settings: EmbedSettings
) -> Iterator[tuple[Job, Decoded[Source], Iterator[Block]]]:
    """Each job with its clip and its embeddings, block after block, to be taken before the next job."""
    decoded = decode_ahead((job.source for job in jobs), model.sample_rate, settings.decoders, settings.out)
    rows = groupby(embed_clips(decoded, model, settings.timestamps), key=itemgetter(0))
    for job, (item, parts) in zip(jobs, rows, strict=True):
        yield job, item, _blocks(parts)


def _blocks(parts: Iterable[tuple[Decoded[Source], Rows]]) -> Iterator[Block]:
    return ((rows.embeddings, rows.times_ms) for _, rows in parts)


def _refused(job: Job, item: Decoded[Source]) -> Outcome:
    return Outcome(job, error=item.error, source=item.stamp, disk_error=item.disk_error)


def _failed(job: Job, error: Exception) -> Outcome:
    full = isinstance(error, OSError) and error.errno in DISK_ERRORS
    return Outcome(job, error=str(error), final=False, disk_error=full)


def _size(samples: int, model: MSSS, timestamps: bool) -> tuple[int, int]:
    """Rows of a clip's result and numbers in each."""
    if not timestamps:
        return 1, model.scene_embedding_size
    return model.timestamp_count(samples), model.timestamp_embedding_size


def _embed_file(
    job: Job, item: Decoded[Source], blocks: Iterator[Block], model: MSSS, settings: EmbedSettings
) -> Outcome:
    clip = item.clip
    if clip is None:
        return _refused(job, item)
    rows, size = _size(clip.samples, model, settings.timestamps)
    try:
        path = settings.out / job.output
        write_file(path, settings.format, counted(blocks, rows), rows, size, settings.timestamps)
    except (OSError, ValueError) as error:
        return _failed(job, error)
    return Outcome(job, "", clip.samples / model.sample_rate, rows, item.stamp, clip.warnings)


def _embed_shard(
    group: Group, embedded: Iterable[tuple[Job, Decoded[Source], Iterator[Block]]], model: MSSS
) -> list[Outcome]:
    settings = group.settings
    outcomes = [
        Outcome(job, error=group.bad[job.place], final=False) for job in group.jobs if job.place in group.bad
    ]
    _, size = _size(0, model, settings.timestamps)
    try:
        with open_shard(
            settings.out / group.jobs[0].output, settings.format, size, settings.timestamps
        ) as shard:
            for job, item, blocks in embedded:
                if item.clip is None:
                    outcomes.append(_refused(job, item))
                    continue
                rows, _ = _size(item.clip.samples, model, settings.timestamps)
                duration_s = item.clip.samples / model.sample_rate
                shard.add(job.key, duration_s, rows, counted(blocks, rows))
                outcomes.append(Outcome(job, "", duration_s, rows, item.stamp, item.clip.warnings))
    except (OSError, ValueError) as error:
        return [_failed(job, error) for job in group.jobs]
    return outcomes
