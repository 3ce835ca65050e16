"""What was asked to run: the facts that a producer gives when it starts a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["run", "recipe"]
Mode = Literal["preview", "update"]
Trigger = Literal["manual", "automated"]


@dataclass(frozen=True, slots=True)
class App:
    """The system that the run worked in (the CRM), and which of its accounts."""

    name: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved configuration, a template or a recipe, and where its producer keeps it."""

    id: str | None = None
    name: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """Who ran it."""

    id: str | None = None
    name: str | None = None
    email: str | None = None

    @property
    def shown(self) -> str | None:
        """The one text that stands for this user in lists and histories."""
        return self.name or self.email or self.id


@dataclass(frozen=True, slots=True)
class Operation:
    """The operation of one run. `details` is canonical JSON text of an object with the producer's other facts."""

    kind: Kind = "run"
    mode: Mode = "update"
    trigger: Trigger = "manual"
    app: App | None = None
    module: str | None = None
    object_type: str | None = None
    template: Saved | None = None
    user: User | None = None
    recipe: Saved | None = None
    recipe_run_id: str | None = None
    target: str | None = None
    message: str | None = None
    details: bytes | None = None
