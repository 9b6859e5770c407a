"""A batch of probes on the pipe: the same files are sent once, however many probes carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from envkit.data.probe import PROBES, Probe
from envkit.data.task import Blob, FileContent

_FILES: TypeAdapter[Mapping[str, FileContent]] = TypeAdapter(Mapping[str, FileContent])


def packed(batch: Sequence[Probe]) -> dict[str, Any]:
    """`{"files": [...], "probes": [...]}`, where a probe's `files` is a place in the list."""
    places: dict[tuple[tuple[str, str | bytes], ...], int] = {}
    files: list[str] = []
    probes: list[dict[str, Any]] = []
    for probe in batch:
        data = probe.model_dump(mode="json", exclude={"files"})
        carried: Mapping[str, FileContent] | None = getattr(probe, "files", None)
        if carried is not None:
            # bytes and str keep their hash, so content that probes share is hashed once
            key = tuple((path, _content(content)) for path, content in carried.items())
            if key not in places:
                places[key] = len(files)
                files.append(_FILES.dump_json(carried).decode())
            data["files"] = places[key]
        probes.append(data)
    return {"files": files, "probes": probes}


def unpacked(message: Mapping[str, Any]) -> list[Probe]:
    """The batch again; probes of the same files share one mapping."""
    files = [_FILES.validate_json(text) for text in message["files"]]
    probes: list[Probe] = []
    for data in message["probes"]:
        fields = {**data, "files": files[data["files"]]} if "files" in data else data
        probes.append(PROBES[str(data["kind"])].model_validate(fields))
    return probes


def _content(content: FileContent) -> str | bytes:
    return content.data if isinstance(content, Blob) else content
