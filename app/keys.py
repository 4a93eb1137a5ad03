"""API keys: only hashes are configured, every key has scopes, comparison takes the same time whatever matches."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"  # see models and reports
    SCORE = "score"  # score inputs
    JOBS = "jobs"  # upload and delete data, run jobs
    ADMIN = "admin"  # everything


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A named key as configured: `name:scope+scope:sha256` of the secret."""

    name: str
    scopes: frozenset[Scope]
    sha256: str

    @classmethod
    def parse(cls, entry: str) -> Self:
        """Raises ValueError for anything but `name:scope+scope:sha256`."""
        found = re.fullmatch(r"([\w.-]+):([a-z+]+):([0-9a-f]{64})", entry.strip())
        if found is None:
            raise ValueError("an API key entry is name:scope+scope:sha256; `howsure keys new NAME` prints one")
        name, scopes, sha256 = found.groups()
        return cls(name, frozenset(Scope(scope) for scope in scopes.split("+")), sha256)

    @classmethod
    def create(cls, name: str, scopes: Iterable[Scope]) -> tuple[Self, str]:
        """A new key and its secret, which is stored nowhere."""
        secret = f"hs_{secrets.token_urlsafe(32)}"
        return cls(name, frozenset(scopes), _hash(secret)), secret

    def __str__(self) -> str:
        return f"{self.name}:{'+'.join(sorted(self.scopes))}:{self.sha256}"

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


def find_key(keys: Iterable[ApiKey], secret: str) -> ApiKey | None:
    """The key of this secret. All keys are compared, each in constant time."""
    presented = _hash(secret)
    matching = [key for key in keys if hmac.compare_digest(key.sha256, presented)]
    return matching[0] if matching else None


def _hash(secret: str) -> str:
    # Secrets are 256 random bits, so a plain hash cannot be searched and needs no salt or work factor.
    return hashlib.sha256(secret.encode()).hexdigest()
