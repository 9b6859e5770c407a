"""`Browser`: Chromium on the episode's own sites, with a route to nothing else."""

from envkit.adapters.browser.adapter import Browser, BrowserSeed
from envkit.adapters.browser.session import BrowserSession

__all__ = ["Browser", "BrowserSeed", "BrowserSession"]
