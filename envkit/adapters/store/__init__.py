"""`Store`: tables for one episode, with a log of every change that lasted."""

from envkit.adapters.store.adapter import Store
from envkit.adapters.store.log import Change, LogFull
from envkit.adapters.store.session import StoreSession

__all__ = ["Change", "LogFull", "Store", "StoreSession"]
