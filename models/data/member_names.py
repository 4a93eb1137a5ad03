"""Names inside an archive: refused where a careless program would write, or read, outside its folder."""

from collections.abc import Iterable

from models.core.errors import DataError

IGNORED_FOLDERS = ("__MACOSX",)
IGNORED_FILES = ("Thumbs.db", "desktop.ini")


def check_name(name: str) -> str:
    """The name. Raises DataError for absolute paths, `..`, backslashes, drive letters and control characters."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
        raise DataError(f"the archive has a member {name!r} that points outside of it: pack it again with plain names")
    if not name.isprintable():
        raise DataError(f"the archive has a member with control characters in its name, {name!r}: rename it")
    return name


def is_data(name: str) -> bool:
    """False for what operating systems add on their own: hidden files and thumbnails."""
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and parts[0] not in IGNORED_FOLDERS and parts[-1] not in IGNORED_FILES


def common_folder(names: Iterable[str]) -> str:
    """`top/` where every name starts with it, else nothing."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    (top,) = tops if len(tops) == 1 else ("",)
    return f"{top}/" if top else ""
