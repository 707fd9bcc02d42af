"""What somebody writes as targets is taken, told twice, or told why not; nothing is guessed or lost."""

import pytest

from engine.lifecycle import Kind
from engine.targets import LONGEST, MOST, Target, one, wanted


def test_lines_and_commas_part_targets_and_their_order_stays() -> None:
    found = wanted("lon-srv-02, lon-srv-01\n\n 10.0.0.7 \n", Kind.AUDIT)
    assert [target.name for target in found.targets] == ["lon-srv-02", "lon-srv-01", "10.0.0.7"]
    assert {target.kind for target in found.targets} == {"device"}
    assert found.again == found.faults == ()


def test_a_scan_takes_segments_with_their_names_and_devices() -> None:
    found = wanted("10.40.12.0/24 theatres\nlon-srv-01\n2001:db8::/120", Kind.SCAN)
    assert found.targets == (
        Target("10.40.12.0/24 theatres", "segment"),
        Target("lon-srv-01", "device"),
        Target("2001:db8::/120", "segment"),
    )


def test_a_connector_takes_a_name_as_it_is() -> None:
    assert wanted("Azure  harbor-uk", Kind.CONNECTOR).targets == (Target("Azure harbor-uk", "cloud"),)


def test_what_stands_there_again_in_any_case_counts_once_and_is_told() -> None:
    found = wanted("srv-1\nSRV-1\nsrv-2, srv-1", Kind.AUDIT)
    assert [target.name for target in found.targets] == ["srv-1", "srv-2"]
    assert found.again == ("SRV-1", "srv-1")


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("10.40.12.7/24", Kind.SCAN, "it is an address within a network; the network is 10.40.12.0/24"),
        ("10.0.0.0/8", Kind.SCAN, "it has 16,777,216 addresses; 65,536 are the most"),
        ("10.0.0/24", Kind.SCAN, "it is no network; write one as 10.0.0.0/24"),
        ("10.0.0.0/24", Kind.AUDIT, "it is a segment; an audit is of a device"),
        ("lon-srv-01", Kind.IMPORT, "it is no segment; write a network as 10.0.0.0/24"),
        ("10.0.0.999", Kind.AUDIT, "it is no address"),
        ("front door", Kind.AUDIT, "a device has no blank in its name; write one target a line"),
        ("-x", Kind.AUDIT, "it is no host name and no address"),
        ("x" * (LONGEST + 1), Kind.CONNECTOR, "it is longer than 200 characters"),
        ("a\u202eb", Kind.CONNECTOR, "it has characters that can't be seen"),
    ],
)
def test_what_is_no_target_is_told_with_its_line_and_why(text: str, kind: Kind, why: str) -> None:
    found = wanted(f"\n{text}", kind)
    assert found.targets == ()
    assert [(line, reason) for line, _, reason in found.faults] == [(2, why)]


def test_no_more_than_a_thousand_are_taken_and_the_rest_is_told() -> None:
    found = wanted("\n".join(f"srv-{n}" for n in range(MOST + 5)), Kind.AUDIT)
    assert len(found.targets) == MOST
    assert len(found.faults) == 5


@pytest.mark.parametrize(
    ("text", "kind", "of", "found"),
    [
        (" 10.0.0.0/24  lab ", Kind.SCAN, "segment", Target("10.0.0.0/24 lab", "segment")),
        ("srv-1", Kind.AUDIT, "device", Target("srv-1", "device")),
        ("srv-1", Kind.SCAN, None, Target("srv-1", "device")),
        ("AWS acme", Kind.CONNECTOR, "cloud", Target("AWS acme", "cloud")),
        ("", Kind.AUDIT, "device", "a task has one target"),
        ("srv-1, srv-2", Kind.AUDIT, "device", "a task has one target"),
        ("10.0.0.7/24", Kind.SCAN, "segment", "it is an address within a network; the network is 10.0.0.0/24"),
        ("srv-1", Kind.SCAN, "segment",
         "it is a device, and this task works on a segment; submit a new one instead"),
    ],
)  # fmt: skip
def test_a_task_gets_another_target_only_of_the_sort_that_it_works_on(
    text: str, kind: Kind, of: str | None, found: Target | str
) -> None:
    assert one(text, kind, of) == found


def test_a_segment_is_the_same_however_it_is_written_and_a_device_with_or_without_the_last_dot() -> None:
    text = "10.0.0.0/24\n10.0.0.0/255.255.255.0\n10.0.0.0/24 office\n2001:db8:0::/112, 2001:DB8::/112"
    found = wanted(text, Kind.SCAN)
    assert [target.name for target in found.targets] == ["10.0.0.0/24", "2001:db8:0::/112"]
    assert found.again == ("10.0.0.0/255.255.255.0", "10.0.0.0/24 office", "2001:DB8::/112")
    assert wanted("srv.local, SRV.local.", Kind.AUDIT).again == ("SRV.local.",)


@pytest.mark.parametrize("name", ["a..b", ".a", "a.-b", f"{'x' * 64}.local", "-", "a b", "müller.de", "..", "a/b"])
def test_what_no_name_server_could_know_is_no_device(name: str) -> None:
    found = wanted(name, Kind.AUDIT)
    assert not found.targets
    assert len(found.faults) == 1
