"""The corpus recipe: downloads with made-up clients, and archives that are damaged or mean harm."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroglass.recipes.corpus import CorpusError, packages
from neuroglass.recipes.corpus.archives import leads_outside, unpack
from neuroglass.recipes.corpus.packages import Package, archive_of, fetch

Client = Callable[[str, str], None]
QUIPS = Package("Debian", "quips")
DATA = Package("npm", "@some/data", "1.2.0")
WHEEL = Package("PyPI", "some-wheel", "0.5")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Puts a made-up client on a PATH that has no other: its name, and its body in Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, body: str) -> None:
        file = folder / name
        file.write_text(f"#!{sys.executable} -S\nimport sys\n{body}\n")
        file.chmod(0o755)

    return put


def wanted(monkeypatch: pytest.MonkeyPatch, *these: Package) -> None:
    monkeypatch.setattr(packages, "PACKAGES", these)


def tgz(file: Path, **members: str) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return file


def wheel(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return file


# --- downloads


def test_what_is_missing_is_downloaded_once(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, DATA)
    made = tgz(tmp_path / "made.tgz", **{"package/a.txt": "hello"})
    log = tmp_path / "log"
    client(
        "npm",
        f"from pathlib import Path\nPath('some-data-1.2.0.tgz').write_bytes("
        f"Path({str(made)!r}).read_bytes())\nPath({str(log)!r}).open('a').write(str(sys.argv[1:]))",
    )
    found = fetch(tmp_path / "cache")
    assert (found["@some/data"] / "a.txt").read_text() == "hello"
    assert fetch(tmp_path / "cache") == found
    assert log.read_text().count("@some/data@1.2.0") == 1
    kept = sorted(file.name for file in (tmp_path / "cache" / "npm").iterdir())
    assert kept == ["some-data-1.2.0", "some-data-1.2.0.tgz"]


def test_a_filled_cache_needs_no_client(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, QUIPS, DATA, WHEEL)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name in ("deb/quips_1.0_all.deb", "npm/some-data-1.2.0.tgz", "pip/Some_Wheel-0.5-py3.whl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    folders = [tmp_path / n for n in ("deb/quips.x", "npm/some-data-1.2.0", "pip/some-wheel.x")]
    for folder in folders:
        folder.mkdir()
    assert list(fetch(tmp_path).values()) == [folders[0], folders[1] / "package", folders[2]]


def test_one_platforms_wheels_are_asked_for_and_one_packages_sources(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, WHEEL, Package("PyPI", "Some.Source", "2", sdist=True))
    one = wheel(tmp_path / "some_wheel-0.5-cp311-x.whl", "some/a.py")
    two = tgz(tmp_path / "some.source-2.tar.gz", **{"b.py": ""})
    client(
        "python",
        "from pathlib import Path\n"
        f"file = Path({str(one)!r} if 'some-wheel==0.5' in sys.argv else {str(two)!r})\n"
        "Path(file.name).write_bytes(file.read_bytes())\n"
        f"Path({str(tmp_path / 'log')!r}).open('a').write(' '.join(sys.argv[1:]) + chr(10))",
    )
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    found = fetch(tmp_path / "cache")
    assert (found["some-wheel"] / "some" / "a.py").is_file()
    assert (found["Some.Source"] / "b.py").is_file()
    first, second = (tmp_path / "log").read_text().splitlines()
    assert "--only-binary=:all: --platform=manylinux" in first
    assert "--no-binary=Some.Source" in second
    assert "--platform" not in second


def test_an_archive_of_another_version_is_not_taken(tmp_path: Path) -> None:
    for name in (
        "some_wheel-0.51-py3.whl",
        "some_wheel-0.4-py3.whl",
        "some_wheel_more-0.5-py3.whl",
    ):
        (tmp_path / name).touch()
    assert archive_of(WHEEL, tmp_path) is None
    (tmp_path / "some_wheel-0.5-py3.whl").touch()
    assert archive_of(WHEEL, tmp_path) == tmp_path / "some_wheel-0.5-py3.whl"


def test_the_files_of_another_version_are_replaced(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, QUIPS)
    old = tmp_path / "deb" / "quips.x" / "old.txt"
    old.parent.mkdir(parents=True)
    old.touch()
    client("apt-get", "open('quips_2.0_all.deb', 'w')")
    client("dpkg-deb", "import os\nos.mkdir(sys.argv[3])\nopen(sys.argv[3] + '/new.txt', 'w')")
    found = fetch(tmp_path)["quips"]
    assert [file.name for file in found.iterdir()] == ["new.txt"]


@pytest.mark.parametrize(
    ("package", "words"),
    [
        (QUIPS, "no apt-get and no dpkg-deb.* from Debian .*: quips.*Debian 12"),
        (DATA, r"no npm.*: @some/data 1\.2\.0.*Install Node"),
        (WHEEL, r"no pip.* from PyPI .*: some-wheel 0\.5.*ensurepip"),
    ],
)
def test_a_missing_client_is_named_before_anything_is_downloaded(
    tmp_path: Path,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    package: Package,
    words: str,
) -> None:
    wanted(monkeypatch, package)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CorpusError, match=words):
        fetch(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_failed_download_quotes_the_clients_last_lines(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, QUIPS)
    client("dpkg-deb", "")
    client(
        "apt-get",
        "open('quips_1.0_all.deb', 'w').write('half')\n"
        "print(*(f'line {i}' for i in range(20)), sep=chr(10), flush=True)\n"
        "print('E: Unable to locate package', sys.argv[2], file=sys.stderr)\nsys.exit(100)",
    )
    with pytest.raises(CorpusError) as caught:
        fetch(tmp_path)
    text = str(caught.value)
    assert "The package quips could not be downloaded from Debian (exit code 100)." in text
    assert "E: Unable to locate package quips\n" in text
    assert "line 19" in text
    assert "line 12\n" not in text
    assert "`apt-get update` first" in text
    assert "another mirror" in text
    assert list((tmp_path / "deb").iterdir()) == []


def test_a_client_that_writes_nothing_has_failed(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, DATA)
    client("npm", "")
    with pytest.raises(CorpusError, match=r"data 1\.2\.0 .* from npm \(the client ended well but"):
        fetch(tmp_path)


def test_a_client_that_never_ends_is_stopped(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, DATA)
    monkeypatch.setattr(packages, "PATIENCE", 0.3)
    client("npm", "import time\ntime.sleep(60)")
    with pytest.raises(CorpusError, match=r"from npm \(no end after 0\.3 s\)"):
        fetch(tmp_path)


def test_a_client_on_a_full_disk(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, DATA)
    client("npm", "sys.exit('npm error ENOSPC: no space left on device, write')")
    with pytest.raises(CorpusError, match=r"disk is full: the packages .* 1,330,000,000 bytes"):
        fetch(tmp_path)
    assert list((tmp_path / "npm").iterdir()) == []


# --- archives


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("a/b.txt", False),
        ("a/..b/c..txt", False),
        ("../a", True),
        ("a/../../b", True),
        ("/a", True),
        ("\\a", True),
        ("a\\..\\..\\b", True),
        ("C:\\a", True),
        ("C:a", True),
    ],
)
def test_paths_that_lead_outside(name: str, outside: bool) -> None:
    assert leads_outside(name) is outside


def test_no_archive_writes_outside_its_folder(tmp_path: Path) -> None:
    linked = tmp_path / "c.tgz"
    with tarfile.open(linked, "w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        tar.addfile(link)
    bad = [
        tgz(tmp_path / "a.tgz", **{"fine": "1", "../../evil": "2"}),
        wheel(tmp_path / "b.whl", "fine", "../../evil"),
        linked,
    ]
    before = sorted(tmp_path.rglob("*"))
    for archive in bad:
        with pytest.raises(CorpusError, match=f"{archive.name} can't be unpacked: .*outside"):
            unpack(archive, tmp_path / "target")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".tgz", ".whl", ".deb"])
def test_a_damaged_archive_is_named_and_leaves_nothing(
    tmp_path: Path, client: Client, suffix: str
) -> None:
    file = tmp_path / f"damaged{suffix}"
    whole = tgz(file, a="text" * 1000) if suffix != ".whl" else wheel(file, "a")
    file.write_bytes(whole.read_bytes()[:-40])
    client(
        "dpkg-deb",
        "import pathlib\npathlib.Path(sys.argv[3]).mkdir()\nsys.exit('unexpected end of file')",
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorpusError, match=rf"damaged{suffix} can't be unpacked: .*Remove .*again"):
        unpack(file, tmp_path / "target")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_deb_without_dpkg_deb(tmp_path: Path, client: Client) -> None:
    with pytest.raises(CorpusError, match=r"no dpkg-deb, and quips_1\.deb is to be"):
        unpack(tmp_path / "quips_1.deb", tmp_path / "quips.x")
