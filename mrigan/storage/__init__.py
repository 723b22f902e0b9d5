"""Folders and URLs: list, read, read ranges, fetch with resume and hash, put whole. No other module knows fsspec."""

from mrigan.storage.fetching import Readable, fetch, partial_path, read_patiently
from mrigan.storage.folder import Folder, folder_of, is_url
from mrigan.storage.pipe import PIPE, PipeStorage
from mrigan.storage.streams import is_remote, open_storage, open_stream
from mrigan.storage.urls import Storage, UnreachableError

__all__ = [
    "PIPE",
    "Folder",
    "PipeStorage",
    "Readable",
    "Storage",
    "UnreachableError",
    "fetch",
    "folder_of",
    "is_remote",
    "is_url",
    "open_storage",
    "open_stream",
    "partial_path",
    "read_patiently",
]
