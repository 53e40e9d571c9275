"""Archives that Python cannot read: through whichever program is there, and never beyond their folder."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import pytest

from bench.catalog.registry import registry
from bench.cli.fetch import assets_of_entry
from bench.data.survey import steps
from bench.errors import BenchError
from bench.fetch.archive import Limits, unpack
from bench.fetch.assets import Asset
from bench.fetch.part import FetchError
from bench.fetch.unpackers import TOOLS

RAR = b"Rar!\x1a\x07\x01\x00"
ZSTD = b"\x28\xb5\x2f\xfd"
FILES = {"raw-890/1.png": "one", "raw-890/22 (2): = ü.png": "two", "READ ME": ""}

UNRAR = '''
"""unrar, of an archive that is the signature and a description of what to list and what to write."""
import json, os, sys, time

command, options, (file, *target) = sys.argv[1], sys.argv[2:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as log:
    log.write(command + "\\n")
with open(file, "rb") as archive:
    told = json.loads(archive.read()[8:])
secret = next(option[2:] for option in options if option.startswith("-p"))
if secret == "-" and told["password"] is not None:
    secret = input("Enter password: ")
if told["password"] not in (None, secret):
    print("UNRAR 6.21 freeware\\nIncorrect password for %s" % file)
    sys.exit(11)
if command == "lt":
    print("\\nUNRAR 6.21 freeware\\n\\nArchive: %s\\nDetails: RAR 5\\n" % file)
    for name, kind, size in told["list"]:
        print("        Name: %s\\n        Type: %s" % (name, kind))
        if kind == "File":
            print("        Size: %d\\n Packed size: %d" % (size, size))
        print("       mtime: 2019-01-15 10:00:00,000000000\\n  Attributes: -rw-r--r--\\n     Host OS: Unix\\n")
    sys.exit(0)
for name, content in told["write"].items():
    path = os.path.join(target[0], name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(content, str):
        with open(path, "w") as out:
            out.write(content)
        os.chmod(path, 0o6777)
    elif content[0] == "link":
        os.symlink(content[1], path)
    elif content[0] == "hard link":
        os.link(os.path.join(target[0], content[1]), path)
    elif content[0] == "pipe":
        os.mkfifo(path)
    else:
        with open(path, "wb") as out:
            for _ in range(10**6):
                out.write(bytes(1 << 20))
                out.flush()
                time.sleep(0.01)
'''
STREAM = f"""
import sys, zlib
data = open(sys.argv[-1], "rb").read()[{len(ZSTD)}:]
if data == b"endless":
    while True:
        sys.stdout.buffer.write(bytes(1 << 20))
sys.stdout.buffer.write(zlib.decompress(data))
"""


def rar(
    files: dict[str, object], listed: list[list[object]] | None = None, password: str | None = None
) -> bytes:  # fmt: skip
    own = [[name, "File", len(text.encode())] for name, text in files.items() if isinstance(text, str)]
    folders = [["raw-890", "Directory", 0]]
    told = {"password": password, "list": folders + own if listed is None else listed, "write": files}
    return RAR + json.dumps(told).encode()


def tree(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "in/here"


def put(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    (place.parent / "archive").write_bytes(content)
    return place.parent / "archive"


def install(folder: Path, **programs: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in programs.items():
        (folder / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH."""
    folder = install(tmp_path / "programs", unrar=UNRAR)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def calls(programs: Path) -> list[str]:
    return (programs / "calls").read_text().split()


@pytest.mark.parametrize("password", [None, "1234567", "-s p$ace"])
def test_files_of_a_rar_arrive_as_they_were_and_are_plain(place: Path, programs: Path, password: str | None):
    archive = put(place, rar({**FILES, "__MACOSX/._a": "desk"}, password=password))
    assert unpack(archive, place, password=password) == 3
    assert tree(place) == FILES
    assert {file.stat().st_mode & 0o7777 for file in place.rglob("*") if file.is_file()} == {0o644}
    assert calls(programs) == ["lt", "x"]


def test_a_wrong_password_is_one_line_with_the_commands(place: Path, programs: Path):
    archive = put(place, rar(FILES, password="right"))
    for password in ("wrong", None):
        with pytest.raises(FetchError, match=r"RAR archive.*could not be opened") as caught:
            unpack(archive, place, password=password)
        assert "\n" not in str(caught.value) and tree(place) == {}
    with pytest.raises(FetchError, match=r"\(unrar: Incorrect password for /.*\); by hand: unrar x -pwrong "):
        unpack(archive, place, password="wrong")


def test_without_a_program_the_commands_are_printed(server, answer, bring, home, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    content = rar(FILES, password="1234567")
    server.routes["/raw.zip"] = answer(data=content)
    asset = uieb(server.url("/raw.zip"), content)
    result = bring(asset)
    file, folder = home / "archives/raw-890.zip", home / "data/uieb"
    assert result.status == "failed" and not result.here
    assert result.detail == (
        f"{file} is a RAR archive with a password, for which unrar or 7z (7zz, 7za) must be on the PATH: "
        f"install one of them and fetch again; by hand: unrar x -p1234567 {file} {folder}/ "
        f"or 7z x -p1234567 -o{folder} {file}"
    )
    assert file.read_bytes() == content  # nothing is downloaded twice


def uieb(url: str, content: bytes) -> Asset:
    fields = {"file": "archives/raw-890.zip", "unpack": "data/uieb", "password": 1234567, "url": url}
    return Asset.from_fields("uieb", {**fields, "sha256": hashlib.sha256(content).hexdigest()}, "academic use")


def test_fetch_opens_a_rar_by_the_password_of_the_catalogue(server, answer, bring, home, programs):
    content = rar(FILES, password="1234567")
    server.routes["/raw.zip"] = answer(data=content)
    result = bring(uieb(server.url("/raw.zip"), content))
    assert result.status == "downloaded" and f"3 files into {home / 'data/uieb'}" in result.detail
    assert tree(home / "data/uieb") == FILES


def test_uiebs_three_archives_have_their_passwords():
    known = {}
    for name in ("uieb", "uieb-890", "uieb-c60"):
        entry = registry("dataset").get(name)
        known |= {Path(asset.file).stem: asset.password for asset in assets_of_entry(entry) if asset.unpack}
        assert any("(password " in line and "unrar or 7z" in line for line in steps(entry))
    assert known == {"raw-890": "1234567", "reference-890": "8901234", "challenging-60": "5678901"}


@pytest.mark.parametrize("password", ["a\nb", "", "ü", "a b"])
def test_a_password_is_one_word(password: str):
    with pytest.raises(BenchError, match=r"password of a\.zip must be"):
        Asset("x", "a.zip", None, None, unpack="data", password=password)


# What must not leave the folder, nor fill the disk


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/root.png", "C:/out.png", "a\\..\\out.png"])
def test_a_name_that_leads_out_is_refused_before_anything_is_unpacked(place: Path, programs: Path, name: str):
    archive = put(place, rar({"a.png": "a"}, [["a.png", "File", 1], [name, "File", 1]]))
    with pytest.raises(FetchError, match="leads out of the folder: refused"):
        unpack(archive, place)
    assert calls(programs) == ["lt"] and tree(place) == {}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Unix symbolic link", "a link"),
        ("Hard link", "a link"),
        ("NTFS junction", "a link"),
        ("File reference", "a link"),
        ("Service", "not a plain file"),
    ],
)
def test_links_and_devices_in_the_list_are_refused(place: Path, programs: Path, kind: str, said: str):
    with pytest.raises(FetchError, match=f"'odd' is {said}: refused"):
        unpack(put(place, rar({}, [["a.png", "File", 1], ["odd", kind, 0]])), place)
    assert calls(programs) == ["lt"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"a.png": "a", "b.png": ["link", "/etc/passwd"]}, "'b.png' is a link"),
        ({"a.png": ["link", "/etc/passwd"], "b.png": "b"}, "'a.png' is a link"),
        ({"b.png": "b", "a.png": ["link", "b.png"]}, "'a.png' is a link"),
        ({"a.png": "a", "b.png": ["hard link", "a.png"]}, "is a link"),
        ({"a.png": "a", "b.png": ["pipe"]}, "'b.png' is not a plain file"),
        ({"a.png": "a", "b.png": "b", "c.png": "c"}, "'c.png' is not as its list says"),
        ({"a.png": "a", "b.png": "bb"}, "'b.png' is not as its list says"),
        ({"a.png": "a", "b.png": ""}, "'b.png' is not as its list says"),
        ({"a.png": "a"}, "'b.png' is in its list alone"),
        ({"a.png": "a", "folder": ["link", "/"], "b.png": "b"}, "'folder' is a link"),
    ],
)
def test_what_a_program_writes_is_held_against_its_list(place: Path, programs: Path, written: dict, said: str):
    place.mkdir(parents=True)
    (place / "mine").write_text("mine")
    with pytest.raises(FetchError, match=f"{said}: refused"):
        unpack(put(place, rar(written, [["a.png", "File", 1], ["b.png", "File", 1]])), place)
    assert tree(place) == {"mine": "mine"} and [file.name for file in place.iterdir()] == ["mine"]


@pytest.mark.parametrize("size", [100 << 20, 10**15])
def test_a_bomb_is_refused_by_its_list(place: Path, programs: Path, size: int):
    with pytest.raises(FetchError, match="refused as a bomb"):
        unpack(put(place, rar({}, [["zeros.png", "File", size]])), place)
    assert calls(programs) == ["lt"]


def test_a_bomb_that_lies_is_ended(place: Path, programs: Path):
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"archive unpacks to more than .* refused as a bomb"):
        unpack(put(place, rar({"zeros.png": ["endless"]}, [["zeros.png", "File", 1]])), place)
    assert time.monotonic() - start < 20 and list(place.iterdir()) == []


def test_names_twice_and_too_many_members_are_refused(place: Path, programs: Path):
    twice = rar({}, [["a.png", "File", 1], ["./a.png", "File", 1]])
    with pytest.raises(FetchError, match=r"'a\.png' twice"):
        unpack(put(place, twice), place)
    with pytest.raises(FetchError, match="more than 1 files"):
        unpack(put(place, rar({}, [["a.png", "File", 1], ["b.png", "File", 1]])), place, Limits(members=1))


def test_a_program_that_cannot_is_followed_by_one_that_can(place: Path, programs: Path):
    """unrar-free answers to the name unrar and knows no list; Debian's 7zz has no RAR at all."""
    shutil.move(programs / "unrar", programs / "rar")
    install(programs, unrar="import sys; sys.exit('unknown command')")
    assert unpack(put(place, rar(FILES)), place) == 3
    install(programs, rar="import sys; print('ERROR: Cannot open the file as archive'); sys.exit(2)")
    with pytest.raises(FetchError, match=r"\(unrar: unknown command; rar: ERROR: Cannot open the file as archive\)"):
        unpack(put(place, rar(FILES)), place)


# A tar under a compression


def compressed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return ZSTD + zlib.compress(out.getvalue())


def test_a_tar_under_zstandard_is_judged_like_any_other(place: Path, programs: Path):
    install(programs, zstd=STREAM)
    assert unpack(put(place, compressed(FILES)), place) == 3
    assert tree(place) == FILES
    for content, said in (
        (compressed({"a": "a", "../b": "b"}), "archive: '../b' leads out of the folder: refused"),
        (ZSTD + b"endless", "archive unpacks to more than 67108864 bytes: refused as a bomb"),
        (ZSTD + zlib.compress(b"no tar"), "is a compressed file and no tar: unpack it by hand"),
        (ZSTD + b"damaged", r"is compressed by Zstandard, and could not be opened \(zstd: .*Error"),
    ):
        with pytest.raises(FetchError, match=said) as caught:
            unpack(put(place, content), place)
        assert "\n" not in str(caught.value) and tree(place) == FILES
        assert [file.name for file in place.iterdir() if file.name.startswith(".")] == []


def test_a_compression_without_its_program_names_it(place: Path, programs: Path):
    with pytest.raises(FetchError, match="compressed by Zstandard, for which zstd, 7zz or bsdcat must be on the PATH"):
        unpack(put(place, compressed(FILES)), place)


# The programs themselves, where they are installed

SEVEN = next(filter(None, map(shutil.which, TOOLS["7z"].programs)), None)
seven = pytest.mark.skipif(SEVEN is None, reason="7-Zip is not installed")
bsdtar = pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = tmp_path / "originals"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def made(originals: Path, name: str, *argv: str) -> Path:
    file = originals.parent / name
    subprocess.run([argv[0], *argv[1:], *([str(file), "."])], cwd=originals, check=True, capture_output=True)
    return file


@seven
@pytest.mark.parametrize("options", [(), ("-psecret",), ("-psecret", "-mhe=on"), ("-psecret", "-tzip", "-mem=AES256"),
                                     ("-psecret", "-tzip", "-mem=ZipCrypto"), ("-ms=off", "-mx=0")])  # fmt: skip
def test_seven_zip_opens_what_it_packs(originals: Path, place: Path, options: tuple[str, ...]):
    file = made(originals, "a.bin", str(SEVEN), "a", *options)
    password = "secret" if "-psecret" in options else None
    assert unpack(file, place, password=password) == 3
    assert tree(place) == FILES
    if password is not None:
        for wrong in ("wrong", None):
            with pytest.raises(FetchError, match=r"(?i)password|could not be opened"):
                unpack(file, place.parent / "other", password=wrong)
            assert tree(place.parent / "other") == {}


@seven
def test_seven_zips_links_and_bombs_are_refused(originals: Path, place: Path):
    (originals / "link").symlink_to("/etc/passwd")
    with pytest.raises(FetchError, match="'link' is a link: refused"):
        unpack(made(originals, "links.7z", str(SEVEN), "a", "-snl"), place)
    (originals / "link").unlink()
    (originals / "zeros").write_bytes(bytes(70 << 20))
    with pytest.raises(FetchError, match="refused as a bomb"):
        unpack(made(originals, "bomb.7z", str(SEVEN), "a", "-mx=1"), place)
    assert tree(place) == {}


@bsdtar
def test_bsdtar_opens_7z_and_refuses_links(originals: Path, place: Path, tmp_path: Path, monkeypatch):
    (install(tmp_path / "programs") / "bsdtar").symlink_to(str(shutil.which("bsdtar")))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    assert unpack(made(originals, "a.7z", "bsdtar", "--format=7zip", "-cf"), place) == 3
    assert tree(place) == FILES
    (originals / "link").symlink_to("/etc/passwd")
    with pytest.raises(FetchError, match="a link: refused"):
        unpack(made(originals, "b.7z", "bsdtar", "--format=7zip", "-cf"), place)


def vint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + vint(rest) if rest else bytes([low])


def block(body: bytes) -> bytes:
    sized = vint(len(body)) + body
    return zlib.crc32(sized).to_bytes(4, "little") + sized


def rar5(files: dict[str, str], links: dict[str, str] | None = None) -> bytes:
    """An archive as RARLAB's technical note on RAR 5.0 lays it out, its files stored."""

    def entry(name: str, data: bytes, extra: bytes = b"") -> bytes:
        head = vint(2) + vint(3 if extra else 2) + (vint(len(extra)) if extra else b"") + vint(len(data))
        fields = vint(4) + vint(len(data)) + vint(0o100644) + zlib.crc32(data).to_bytes(4, "little") + vint(0) + vint(1)
        return block(head + fields + vint(len(name.encode())) + name.encode() + extra) + data

    def link(target: str) -> bytes:
        record = vint(5) + vint(1) + vint(0) + vint(len(target)) + target.encode()
        return vint(len(record)) + record

    stored = [entry(name, text.encode()) for name, text in files.items()]
    stored += [entry(name, b"", link(target)) for name, target in (links or {}).items()]
    return RAR + block(vint(1) + vint(0) + vint(0)) + b"".join(stored) + block(vint(5) + vint(0) + vint(0))


@bsdtar
def test_bsdtar_opens_rar_and_nothing_of_it_leads_out(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (install(tmp_path / "programs") / "bsdtar").symlink_to(str(shutil.which("bsdtar")))
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    assert unpack(put(place, rar5(FILES)), place) == 3
    assert tree(place) == FILES
    for content, said in (
        (rar5({"a": "a", "../b": "b"}), "'../b' leads out of the folder: refused"),
        (rar5({"a": "a", "/b": "b"}), "'/b' leads out of the folder: refused"),
        (rar5({"a": "a"}, {"b": "/etc/passwd"}), "is a link: refused"),
        (rar5({"a": "a", "b": "b"}).replace(b"b", b"c"), "is a RAR archive, and could not be opened"),
        (rar5(FILES)[:-40], r"could not be opened \(bsdtar: the archive is cut short\)"),
        (rar5(FILES)[:-8], r"could not be opened \(bsdtar: the archive is cut short\)"),
        (rar5(FILES)[:30], r"could not be opened \(bsdtar: the archive is cut short\)"),
    ):
        with pytest.raises(FetchError, match=said):
            unpack(put(place, content), place)
        assert tree(place) == FILES and sorted(file.name for file in place.iterdir()) == ["READ ME", "raw-890"]


@bsdtar
@pytest.mark.parametrize("way", ["--zstd", "--lz4", "--lzip", "--compress"])
def test_tars_under_other_compressions_are_opened(originals: Path, place: Path, way: str):
    try:
        file = made(originals, "a.tar.x", "bsdtar", way, "-cf")
    except subprocess.CalledProcessError:
        pytest.skip(f"this bsdtar cannot write {way}")
    assert unpack(file, place) == 3
    assert tree(place) == FILES
