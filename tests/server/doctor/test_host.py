"""What a machine can be like."""

import pytest

from server.doctor import host

SWAPS = "Filename Type Size Used Priority\n"


@pytest.mark.parametrize(
    ("is_synchronised", "level"), [(True, "ok"), (False, "warn"), (None, "warn")]
)
def test_a_clock_is_kept_right(is_synchronised, level):
    assert host.check_clock(is_synchronised).level == level


@pytest.mark.parametrize(
    ("core_limit_bytes", "is_dumpable", "level"),
    [(0, False, "ok"), (0, True, "warn"), (-1, False, "warn"), (None, None, "warn")],
)
def test_a_crash_writes_no_memory_to_a_disk(core_limit_bytes, is_dumpable, level):
    assert host.check_cores(core_limit_bytes, is_dumpable).level == level


@pytest.mark.parametrize(("scope", "level"), [(1, "ok"), (3, "ok"), (0, "warn"), (None, "warn")])
def test_processes_of_one_account_do_not_look_into_each_other(scope, level):
    assert host.check_tracing(scope).level == level


@pytest.mark.parametrize(
    ("swaps", "level"),
    [
        (None, "warn"),
        (SWAPS, "ok"),
        (f"{SWAPS}/dev/secret partition 9 0 -2\n", "ok"),
        (f"{SWAPS}/dev/secret partition 9 0 -2\n/swapfile file 9 0 -3\n", "warn"),
    ],
)
def test_swap_is_off_or_encrypted(swaps, level):
    assert host.check_swap(swaps, lambda place: place == "/dev/secret").level == level


def test_plain_swap_is_named():
    finding = host.check_swap(f"{SWAPS}/swapfile file 9 0 -3\n", lambda place: False)
    assert finding.about == "/swapfile"


@pytest.mark.parametrize(("euid", "level"), [(0, "warn"), (1000, "ok")])
def test_a_server_has_an_account_of_its_own(euid, level):
    assert host.check_account(euid).level == level


def test_this_machine_can_be_asked():
    assert host.is_clock_synchronised() in {True, False, None}
    assert host.core_limit_bytes() is not None
    assert host.is_dumpable() in {True, False}
    assert host.ptrace_scope() in {None, 0, 1, 2, 3}


@pytest.mark.parametrize(("text", "scope"), [("1\n", 1), ("?", None), (None, None)])
def test_yama_says_a_number_or_nothing(tmp_path, text, scope):
    path = tmp_path / "ptrace_scope"
    if text is not None:
        path.write_text(text)
    assert host.ptrace_scope(path) == scope


@pytest.mark.parametrize(
    ("place", "uuid", "is_encrypted"),
    [
        ("/dev/dm-0", "CRYPT-PLAIN-swap", True),
        ("/dev/dm-0", "LVM-abc", False),
        ("/dev/zram0", None, True),
        ("/dev/sda2", None, False),
    ],
)
def test_swap_on_dm_crypt_or_in_memory_is_no_plain_disk(tmp_path, place, uuid, is_encrypted):
    if uuid is not None:
        (tmp_path / "dm-0" / "dm").mkdir(parents=True)
        (tmp_path / "dm-0" / "dm" / "uuid").write_text(uuid)
    assert host.is_swap_encrypted(place, tmp_path) is is_encrypted
