"""Folders and URLs: list, read, read ranges, fetch with resume and hash, put whole. No other module knows fsspec."""

from mrigan.storage.fetching import fetch, partial_path, read_patiently
from mrigan.storage.folder import Folder, folder_of, is_url
from mrigan.storage.urls import Storage, UnreachableError

__all__ = ["Folder", "Storage", "UnreachableError", "fetch", "folder_of", "is_url", "partial_path", "read_patiently"]
