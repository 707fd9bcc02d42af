"""What is told to whoever may not know it all: processors without their names, holds without whose and why. Pure.

What belongs to a business as a whole, its processors, is called alike by whoever sees but a site. That something is
held everybody sees; who holds it and why is for those who keep the place going.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from .health import Look
from .lifecycle import SYSTEM_KINDS
from .task import PROCESS

A_PROCESSOR = "a processor"  #: what one is called where its name is not to be seen
SOMEBODY = "An admin"  #: likewise, who holds something
UNTOLD = {"reason": pl.lit(None, pl.String), "actor": pl.lit(SOMEBODY)}
"""Who holds something and why, as columns for those who are not told."""


def masked(column: str, where: pl.Expr) -> pl.Expr:
    """Call a processor in a column alike, where it is one."""
    return pl.when(where & pl.col(column).is_not_null()).then(pl.lit(A_PROCESSOR)).otherwise(column)


def processing() -> pl.Expr:
    """Tell which rows are of the stage that processors run."""
    return pl.col("stage") == PROCESS


def of_system() -> pl.Expr:
    """Tell what a processor runs as a whole, so that it is one which such a task asks for."""
    return pl.col("kind").is_in([kind.value for kind in SYSTEM_KINDS])


def unnamed(look: Look, site: str) -> Look:
    """Call every processor alike, and name no host of another site."""
    every, own = pl.lit(True), ~of_system() & (pl.col("site") == site)
    return replace(
        look,
        services=look.services.with_columns(name=masked("name", pl.col("site").is_null())),
        waiting=look.waiting.with_columns(requested_service=pl.when(own).then("requested_service")),
        running=look.running.with_columns(host=masked("host", processing())),
        processing=look.processing.with_columns(processor=masked("processor", every)),
        paces=look.paces.with_columns(processor=masked("processor", every)),
    )
