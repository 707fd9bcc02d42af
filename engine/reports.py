"""What reports and the outlier calculation make of assets: figures and tables, plain enough to be kept. Pure.

Assets come as the table asset has them, of one business or one of its sites. The same assets make the same result, in
whatever order they come. No list is cut in silence: a table says how many rows it left out, and a result fits in
MOST_BYTES. A result is

    {"report", "business", "site" (None: of the whole business), "made_at" (µs), "assets",
     "figures": [{"label", "value", "kind", "note"}], "tables": [{"title", "note", "columns": [[label, kind]], "rows",
     "left_out"}]}

with values of the kinds text, count, share (0 to 1), score (0 to 10), instant (µs) and yes; None is unknown.

**The outlier score** tells how unlike its peers an asset is, its peers being all assets of its site. Of three traits it
is counted how many peers share an asset's: its type in its address block, which go together; whether it is online; the
week in which it was first seen. Each is worth log2(peers / those who share it) bits of surprise; the bits add up, as in
the histogram-based outlier score (M. Goldstein, A. Dengel, KI 2012), which takes traits for independent. What is usual
at the site, the mean over all peers, is taken off; of the rest, every four bits halve the distance to ten:

    score = 10 · (1 − 2^(−max(0, bits − mean) / 4)), to one decimal

So an asset that is as its peers are scores 0, whatever the size and the mixture of the site.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import polars as pl

from .clock import DAY, SECOND
from .errors import NotFound
from .ledger import AssetSeen, Detail, json_text
from .lifecycle import COMPARISON, EXTERNAL, OUTLIERS, OVERVIEW, REPORTS, Kind

MOST_BYTES = 256_000  #: of a result as it is kept
MOST_SITES = 12  #: that have a column of their own
SHORT, LONG, WHOLE = 25, 50, 1_000  #: rows of a table: the first few, more of them, all where it can be
NEW, RECENT, GONE = 7 * DAY, 30 * DAY, 30 * DAY
UNLIKE = 5.0  #: the score from which an asset counts as an outlier
HALVING_BITS = 4.0
#: trait: the columns that it is made of
TRAITS = {"place": ("type", "block"), "state": ("online",), "age": ("week",)}

SCHEMA = pl.Schema({
    "business": pl.String(), "site": pl.String(), "target": pl.String(), "name": pl.String(), "type": pl.String(),
    "online": pl.Boolean(), "outlier_score": pl.Float64(), "first_seen_at": pl.Datetime("us"),
    "last_seen_at": pl.Datetime("us"),
})  # fmt: skip
"""What an asset is here."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a result is of, and when it is made; `sites` are all that there are, with assets or without."""

    business: str
    site: str | None
    sites: Sequence[str]
    now: int


def analyse(kind: str, name: str, assets: pl.DataFrame, scope: Scope) -> tuple[Detail | None, Sequence[AssetSeen]]:
    """Make the result of a system task, and the assets whose score has changed with it. A query has no result here.

    Raise NotFound for a report that there is none of.
    """
    if kind == Kind.OUTLIER:
        return outliers(assets, scope)
    if kind != Kind.REPORT:
        return None, ()
    made = {OVERVIEW: overview, COMPARISON: comparison, EXTERNAL: external}.get(name)
    if made is None:
        raise NotFound.named("report", name, REPORTS)
    return made(assets, scope), ()


# --- the three reports


def overview(assets: pl.DataFrame, scope: Scope) -> Detail:
    """Tell what a business has: by type, by site, what is new, what is gone, what is unlike the rest."""
    known = _prepared(assets, scope)
    n, online = known.height, int(known["online"].sum())
    new, gone = known.filter("new"), known.filter("gone")
    figures = [
        _figure("Assets", n, note=f"at {_many(scope.sites, 'site')}"),
        _figure("Online", _share(online, n), "share", f"{online:,} of {n:,}"),
        _figure("New in 7 days", new.height, note=f"{int(known['recent'].sum()):,} in 30 days"),
        _figure("Not seen for 30 days", gone.height),
        _figure("Outliers", int(known["unlike"].sum()), note=f"scored {UNLIKE:g} or more{_unscored(known)}"),
    ]
    by_type = _grouped(known, "type").sort(["assets", "type"], descending=[True, False])
    by_site = _per_site(known, scope)
    return _result(
        OVERVIEW, scope, n, figures,
        _table("Assets by type", "", {"type": "text", "assets": "count", "share": "share", "online": "count",
               "offline": "count"}, by_type, WHOLE),
        _table("Assets by site", "Gone: not seen for 30 days", {"site": "text", "assets": "count", "share": "share",
               "online": "count", "offline": "count", "new_7": "count", "new_30": "count", "gone": "count"}, by_site,
               WHOLE),
        _table("Top outliers", "least like the other assets of their site", _ASSET | {"outlier_score": "score"},
               _by_score(known.filter(pl.col("outlier_score") > 0)), SHORT),
        _table("Newest assets", "first seen in the last 7 days, the newest first", _ASSET | {"first_seen_at": "instant",
               "last_seen_at": "instant"}, new.sort(["first_seen_at", *_KEY], descending=[True, False, False]), SHORT),
        _table("Not seen for 30 days", "the longest first", _ASSET | {"first_seen_at": "instant", "last_seen_at":
               "instant"}, gone.sort(["last_seen_at", *_KEY]), SHORT),
    )  # fmt: skip


def comparison(assets: pl.DataFrame, scope: Scope) -> Detail:
    """Put the sites of a business beside each other, and the business as a whole below them."""
    known = _prepared(assets, scope)
    n, online = known.height, int(known["online"].sum())
    sites = _per_site(known, scope)
    whole = _grouped(known.with_columns(site=pl.lit(f"All of {scope.business}")), "site")
    beside = pl.concat([sites, whole.select(sites.columns)], how="vertical_relaxed")
    figures = [
        _figure("Sites", len(scope.sites), note=f"{known['site'].n_unique():,} with assets"),
        _figure("Assets", n),
        _figure("Online", _share(online, n), "share", f"{online:,} of {n:,}"),
        _figure("Seen in 7 days", _share(int(known["covered"].sum()), n), "share", "by a scan, an audit or a sync"),
        _figure("Median outlier score", _median(known), "score", _unscored(known).removeprefix(", ")),
    ]
    largest = sites.sort(["assets", "site"], descending=[True, False])["site"].to_list()[:MOST_SITES]
    types = _grouped(known, "type").sort(["assets", "type"], descending=[True, False]).select("type", "assets")
    for site in largest:
        there = known.filter(pl.col("site") == site).group_by("type").agg(pl.len().alias(f"at {site}"))
        types = types.join(there, on="type", how="left", maintain_order="left")
    types = types.with_columns(pl.col([f"at {site}" for site in largest]).fill_null(0)) if largest else types
    left = len(scope.sites) - len(largest)
    return _result(
        COMPARISON, scope, n, figures,
        _table("Sites side by side", "Coverage: seen in the last 7 days. Gone: not seen for 30 days",
               {"site": "text", "assets": "count", "online_share": "share", "covered": "share", "new_7": "count",
                "new_30": "count", "gone": "count", "types": "count", "median": "score", "highest": "score"},
               beside, WHOLE),
        _table("Types by site", f"the {len(largest)} largest of {len(scope.sites):,} sites" if left else "",
               {"type": "text", "assets": "count"} | {f"at {site}": "count" for site in largest}, types, WHOLE),
    )  # fmt: skip


def external(assets: pl.DataFrame, scope: Scope) -> Detail:
    """List what can be reached from outside: assets with a public address, and those in a cloud."""
    known = _prepared(assets, scope).with_columns(public=public("target"))
    found = known.filter(pl.col("public") | pl.col("type").str.contains("(?i)^cloud")).with_columns(
        why=pl.when("public").then(pl.lit("public address")).otherwise(pl.lit("in a cloud"))
    )
    n, public_ones = found.height, int(found["public"].sum())
    figures = [
        _figure("External assets", n, note=f"of {_many(known.height, 'asset')}"),
        _figure("Public addresses", public_ones),
        _figure("In a cloud", n - public_ones, note="without a public address"),
        _figure("Online", int(found["online"].sum())),
        _figure("Not seen for 7 days", n - int(found["covered"].sum()), note="gone, or out of reach"),
    ]
    by_type = _grouped(found, "type").sort(["assets", "type"], descending=[True, False])
    listed = found.sort(["public", "last_seen_at", *_KEY], descending=[True, True, False, False])
    return _result(
        EXTERNAL, scope, known.height, figures,
        _table("External assets by type", "", {"type": "text", "assets": "count", "share": "share", "online": "count",
               "offline": "count"}, by_type, WHOLE),
        _table("External assets", "public addresses first, then what was seen last", _HERE | {"why": "text",
               "first_seen_at": "instant", "last_seen_at": "instant", "outlier_score": "score"}, listed, WHOLE),
    )  # fmt: skip


# --- the outlier calculation


def outliers(assets: pl.DataFrame, scope: Scope) -> tuple[Detail, list[AssetSeen]]:
    """Score every asset among its peers; return what came of it, and the assets whose score is another one now."""
    found = scored(assets)
    changed = found.filter(pl.col("score").ne_missing(pl.col("outlier_score")))
    seen = [
        AssetSeen(*row)
        for row in changed.select(
            "business", "site", "target", "name", "type", pl.col("last_seen_at").dt.epoch("us"), "online", "score"
        ).rows()
    ]
    now_known = _prepared(found.with_columns(before="outlier_score", outlier_score="score"), scope)
    figures = [
        _figure("Assets scored", found.height),
        _figure("Changed", changed.height, note="since the calculation before"),
        _figure("Outliers", int(now_known["unlike"].sum()), note=f"scored {UNLIKE:g} or more"),
        _figure("Median score", _median(now_known), "score"),
        _figure("Highest score", now_known["outlier_score"].max(), "score"),
    ]
    bands = (
        pl.DataFrame({"low": range(10)})
        .join(
            now_known.group_by(low=pl.col("outlier_score").floor().clip(0, 9).cast(pl.Int64)).agg(assets=pl.len()),
            on="low", how="left", maintain_order="left",
        )
        .select(
            band=pl.format("{} to {}", "low", pl.col("low") + 1),
            assets=pl.col("assets").fill_null(0),
            share=pl.col("assets").fill_null(0) / max(found.height, 1),
        )
    )  # fmt: skip
    top = _by_score(now_known.filter(pl.col("outlier_score") > 0)).head(LONG)
    top = top.with_columns(why=pl.Series(map(_why, top.to_dicts()), dtype=pl.String))
    result = _result(
        OUTLIERS, scope, found.height, figures,
        _table("Least like their peers", "and what sets them apart", _HERE | {"outlier_score": "score", "before":
               "score", "why": "text"}, top, LONG, int((now_known["outlier_score"] > 0).sum())),
        _table("How scores are spread", "", {"band": "text", "assets": "count", "share": "share"}, bands, WHOLE),
    )  # fmt: skip
    return result, seen


def scored(assets: pl.DataFrame) -> pl.DataFrame:
    """Add each asset's `score`, and for each of the TRAITS how many peers share it (`place_n` …), among `peers`."""
    counted = (
        assets.sort(_KEY)
        .with_columns(block=block("target"), week=pl.col("first_seen_at").dt.truncate("1w"))
        .with_columns(
            pl.len().over("site").alias("peers"),
            *(pl.len().over("site", *columns).alias(f"{trait}_n") for trait, columns in TRAITS.items()),
        )
    )
    bits = pl.sum_horizontal((pl.col("peers") / pl.col(f"{trait}_n")).log(2) for trait in TRAITS)
    beyond = (pl.col("bits") - pl.col("bits").mean().over("site")).clip(lower_bound=0)
    return (
        counted.with_columns(bits=bits)
        .with_columns(score=(10 * (1 - 2.0 ** (-beyond / HALVING_BITS))).round(1))
        .drop("bits")
    )


def block(column: str) -> pl.Expr:
    """Tell the neighbourhood of an address: its /24, the first half of an IPv6 one, else a name without its number."""
    address = pl.col(column)
    return pl.coalesce(
        address.str.extract(r"^(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}$", 1),
        address.str.extract(r"^((?:[0-9a-fA-F]{1,4}:){1,4})", 1),
        address.str.replace(r"[\s._-]*\d+$", ""),
    )


_PRIVATE = r"^(10|127|169\.254|172\.(1[6-9]|2\d|3[01])|192\.168)\."  #: most of what there is, told at a glance


def public(column: str) -> pl.Expr:
    """Tell whether an address is one of the public internet's."""
    address = pl.col(column)
    candidate = address.str.contains(r"^[0-9a-fA-F.:]+$") & ~address.str.contains(_PRIVATE)
    return (
        pl.when(candidate).then(address).map_elements(_is_public, return_dtype=pl.Boolean).fill_null(False)
    )


def _is_public(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast


def _why(asset: Mapping[str, Any]) -> str:
    """Say which traits an asset shares with few, the rarest first."""
    worded = {
        "place": f"{asset['type']} in {asset['block']}",
        "state": "online" if asset["online"] else "offline",
        "age": f"first seen in the week of {asset['week']:%Y-%m-%d}" if asset["week"] else "never seen",
    }
    rare = sorted((asset[f"{trait}_n"], trait) for trait in TRAITS if 4 * asset[f"{trait}_n"] <= asset["peers"])
    return "; ".join(f"{worded[trait]}: {n:,} of {asset['peers']:,}" for n, trait in rare)


# --- what they share

_KEY = ("site", "target")
_HERE = {"name": "text", "target": "text", "type": "text", "online": "yes"}  #: of an asset, where the site is known
_ASSET = {"name": "text", "target": "text", "site": "text", "type": "text", "online": "yes"}

LABELS = {
    "name": "Asset", "target": "Address", "site": "Site", "type": "Type", "online": "Online", "offline": "Offline",
    "assets": "Assets", "share": "Share", "new_7": "New, 7 days", "new_30": "New, 30 days", "gone": "Gone",
    "online_share": "Online", "covered": "Coverage", "types": "Types", "median": "Median outlier score",
    "highest": "Highest outlier score", "first_seen_at": "First seen", "last_seen_at": "Last seen",
    "outlier_score": "Outlier score", "before": "Score before", "why": "Why", "band": "Score",
}  # fmt: skip


def _prepared(assets: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Say of each asset whether it is new, recent, gone, seen lately (covered) and unlike the others."""
    first, last, now = pl.col("first_seen_at").dt.epoch("us"), pl.col("last_seen_at").dt.epoch("us"), scope.now
    return assets.sort(_KEY).with_columns(
        pl.col("online").fill_null(False),
        new=(now - first <= NEW).fill_null(False),
        recent=(now - first <= RECENT).fill_null(False),
        gone=(now - last > GONE).fill_null(True),
        covered=(now - last <= NEW).fill_null(False),
        unlike=(pl.col("outlier_score") >= UNLIKE).fill_null(False),
    )


def _grouped(known: pl.DataFrame, by: str) -> pl.DataFrame:
    score = pl.col("outlier_score")
    return known.group_by(by).agg(
        assets=pl.len().cast(pl.Int64),
        share=pl.len() / max(known.height, 1),
        offline=(~pl.col("online")).sum(),
        new_7=pl.col("new").sum(),
        new_30=pl.col("recent").sum(),
        gone=pl.col("gone").sum(),
        covered=pl.col("covered").mean(),
        online_share=pl.col("online").mean(),
        median=score.median(),
        highest=score.max(),
        online=pl.col("online").sum(),
        **({} if by == "type" else {"types": pl.col("type").n_unique()}),
    )


def _per_site(known: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Tell of every site of the business, those without assets too, by name."""
    every = pl.DataFrame({"site": sorted({*scope.sites, *known["site"]})}, schema={"site": pl.String})
    return every.join(_grouped(known, "site"), on="site", how="left", maintain_order="left").with_columns(
        pl.col("assets", "share", "online", "offline", "new_7", "new_30", "gone", "types").fill_null(0)
    )


def _by_score(known: pl.DataFrame) -> pl.DataFrame:
    return known.sort(["outlier_score", *_KEY], descending=[True, False, False], nulls_last=True)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _median(known: pl.DataFrame) -> float | None:
    median = known["outlier_score"].median()
    return float(median) if isinstance(median, int | float) else None


def _unscored(known: pl.DataFrame) -> str:
    missing = known["outlier_score"].null_count()
    return f", {missing:,} not yet" if missing else ""


def _many(things: int | Sequence[object], noun: str) -> str:
    n = things if isinstance(things, int) else len(things)
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _figure(label: str, value: Any, kind: str = "count", note: str = "") -> Detail:
    return {"label": label, "value": value, "kind": kind, "note": note}


def _table(
    title: str, note: str, columns: Mapping[str, str], rows: pl.DataFrame, most: int, of: int | None = None
) -> Detail:
    """Take the first rows of a frame, and say how many of how many (`of`, where the frame was cut before) are left."""
    labels = [[LABELS.get(name) or name.removeprefix("at "), kind] for name, kind in columns.items()]
    instants = pl.col([name for name, kind in columns.items() if kind == "instant"]).dt.epoch("us")
    told = rows.head(most).select(list(columns))
    told = told.with_columns(instants) if "instant" in columns.values() else told
    cells = [[_cell(value) for value in row] for row in told.rows()]
    return {
        "title": title, "note": note, "columns": labels, "rows": cells,
        "left_out": (rows.height if of is None else of) - len(cells),
    }  # fmt: skip


def _cell(value: Any) -> Any:
    """Shorten what no reader tells apart; what is no number is unknown: it could not be kept as JSON."""
    if isinstance(value, float):
        return round(value, 4) if value == value and abs(value) != float("inf") else None
    return value


def _result(report: str, scope: Scope, assets: int, figures: list[Detail], *tables: Detail) -> Detail:
    result = {
        "report": report, "business": scope.business, "site": scope.site, "made_at": scope.now, "assets": assets,
        "figures": [figure | {"value": _cell(figure["value"])} for figure in figures], "tables": list(tables),
    }  # fmt: skip
    while len(json_text(result).encode()) > MOST_BYTES:
        longest = max(tables, key=lambda table: len(json_text(table["rows"])))
        if not longest["rows"]:
            break
        kept = len(longest["rows"]) // 2
        longest["left_out"] += len(longest["rows"]) - kept
        longest["rows"] = longest["rows"][:kept]
    return result


# --- out again


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a text begins that a spreadsheet takes for a formula and runs, full width signs and all."""


def as_csv(table: Detail) -> str:
    """Write a table of a result as CSV: instants in UTC, shares as fractions, the rest as it is kept."""
    written = io.StringIO()
    # A lone carriage return is left unquoted otherwise, and a spreadsheet begins a row there.
    broken = any("\r" in value for row in table["rows"] for value in row if isinstance(value, str))
    rows = csv.writer(written, csv.unix_dialect, quoting=csv.QUOTE_NONNUMERIC if broken else csv.QUOTE_MINIMAL)
    rows.writerow([label for label, _ in table["columns"]])
    for row in table["rows"]:
        rows.writerow([_csv_cell(value, kind) for value, (_, kind) in zip(row, table["columns"], strict=True)])
    return written.getvalue()


def _csv_cell(value: Any, kind: str) -> Any:
    if value is None:
        return ""
    if kind == "instant":
        return f"{datetime.fromtimestamp(value / SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
    if kind == "yes":
        return "yes" if value else "no"
    return f"'{value}" if kind == "text" and str(value).startswith(FORMULA) else value
