"""Uploads: files that a task brings, offered to pages under their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from envkit.adapters.browser.session import PATIENCE, BrowserSession, Ref
from envkit.data.tool import ToolResult, tool
from envkit.toolbox import ToolRefusal

if TYPE_CHECKING:
    from playwright.async_api import Locator


class UploadingSession(BrowserSession):
    """A session whose task brings files that may be uploaded: bytes of the seed, never files of the host."""

    files: Mapping[str, bytes] = {}

    @tool
    async def upload(self, ref: Ref, name: Annotated[str, Field(max_length=200)]) -> ToolResult:
        """Put one of your files into a file field.

        Args:
            ref: the file field
            name: the file's name
        """
        content = self.files.get(name)
        if content is None:
            names = ", ".join(sorted(self.files)) or "none"
            raise ToolRefusal(f"There is no file {name!r}. Files: {names}")

        async def work(element: Locator) -> None:
            from playwright.async_api import FilePayload

            payload = FilePayload(name=name, mimeType="application/octet-stream", buffer=content)
            await element.set_input_files(payload, timeout=PATIENCE)

        return await self._on(ref, work)
