"""Reports on 100,000 assets: seconds that the outlier calculation and each report take, results made ready included.

Assets are drawn as a large fleet has them: some sites, /24 blocks, a few types that are common and some that are rare.
What is timed is the pure work on a frame, as the fleet's thread does it when a report ends; reading the frame from the
store and keeping the result are told beside it.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from engine import inventory, reports
from engine.clock import SECOND
from engine.ledger import AssetSeen, Rows
from engine.reports import Scope
from engine.store import Store
from tests.bench.common import report

TARGET_S = 1.0
NOW = 1_780_000_000 * SECOND
BORN = datetime(2026, 1, 1)  # noqa: DTZ001  # as the table has instants
TYPES = ("workstation", "phone", "camera", "printer", "server", "cloud host", "switch", "PLC", "pump", "gate")


def fleet(n: int, sites: int) -> pl.DataFrame:
    """Draw so many assets."""
    chance = random.Random(1)
    types = chance.choices(TYPES, [0.5**i for i in range(len(TYPES))], k=n)
    rows = [
        (
            "acme", f"site {i % sites}", f"{(10, 10, 10, 8)[i % 4]}.{i >> 16}.{i >> 8 & 255}.{i & 255}", f"asset {i}",
            types[i], chance.random() < 0.9, None, BORN + timedelta(hours=chance.randrange(3_000)),
            BORN + timedelta(hours=3_500 - min(int(chance.expovariate(0.01)), 3_000)),
        )
        for i in range(n)
    ]  # fmt: skip
    return pl.DataFrame(rows, reports.SCHEMA, orient="row")


def spent(work: Callable[[], object], times: int) -> float:
    """Give the median seconds of some runs."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return sorted(took)[times // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--sites", type=int, default=20)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    assets = fleet(options.assets, options.sites)
    scope = Scope("acme", None, [f"site {i}" for i in range(options.sites)], NOW)
    value = spent(lambda: reports.outliers(assets, scope), options.times)
    three = {made.__name__: made for made in (reports.overview, reports.comparison, reports.external)}
    took = {name: spent(lambda made=made: made(assets, scope), options.times) for name, made in three.items()}
    with tempfile.TemporaryDirectory() as place, Store.open(Path(place) / "store") as store:
        at = pl.col("last_seen_at").dt.epoch("us")
        columns = ("business", "site", "target", "name", "type", at, "online", "outlier_score")
        known = [AssetSeen(*row) for row in assets.select(columns).rows()]
        store.commit(1, NOW, Rows(asset=known))
        read = spent(lambda: inventory.assets(store, "acme"), options.times)
        page = spent(lambda: inventory.listing(store, "acme", "site 0"), options.times)
        _, scored = reports.outliers(inventory.assets(store, "acme"), scope)
        kept = spent(lambda: store.commit(store.batch + 1, NOW, Rows(asset=scored)), 1)
    report(
        "reports", value, "s for the outlier calculation", TARGET_S, value <= TARGET_S, assets=options.assets,
        scoring_alone_s=round(spent(lambda: reports.scored(assets), options.times), 3),
        **{f"{name}_s": round(s, 3) for name, s in took.items()},
        reading_the_assets_s=round(read, 3), listing_a_page_s=round(page, 4), keeping_all_scores_s=round(kept, 3),
    )  # fmt: skip


if __name__ == "__main__":
    main()
