"""Private programs from Debian's packages, without installing anything into the system.

Usage (blocking; the first call downloads some 60 MB, later ones only read a file)::

    from vsek.embedded import packages

    prefix = packages.ensure(["servers"])      # groups: servers, speech, peers
    prefix.tool("asterisk")                    # Path of a program that runs as it is
    prefix.root / "usr/share/asterisk"         # other files of the packages
    packages.find_tool("sox")                  # from the PATH if it is there, else private

Theory of operation. The mirror comes from the machine's own apt sources (or
``VSEK_DEBIAN_MIRROR``). apt gets a private state directory, one source for the suite that carries
Asterisk 22, and a status file that pretends that packages which only maintainer scripts need (perl,
systemd, debconf …) are there, so that they are not downloaded. ``apt-get --download-only`` verifies
signatures and hashes with the keys that this machine trusts; nothing here relaxes that. ``dpkg -x``
unpacks into a fresh folder, and patchelf sets interpreter and DT_RPATH of the programs to that
folder *once*. DT_RPATH (not RUNPATH) also serves the libraries and modules that a program loads,
and unlike ``LD_LIBRARY_PATH`` it does not reach a child such as ``sh``, which must use the system's
libraries.

The cache is ``$VSEK_CACHE``, else for root ``/var/cache/vsek`` (servers run as an unprivileged
user, who cannot enter ``/root``), else ``$XDG_CACHE_HOME/vsek`` or ``~/.cache/vsek``. A prefix is
built under a file lock in a staging folder, then renamed; its name carries a hash of all package
versions, and ``GROUP.json`` beside it says which one is current. Builders of two runs wait for each
other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vsek.embedded import mirrors
from vsek.errors import InputError, ServiceError

FORMAT = 1
"""Raised when the way a prefix is built changes; older prefixes are then built anew."""

TESTED_ASTERISK = "22.10.1"
"""The oldest Asterisk that vsek accepts, and the one that its tests ran with."""

SUITES = ("forky", "sid")
"""Debian suites that carry Asterisk 22, in the order in which they are tried."""

_RELEASE_VALID_S = 90 * 24 * 3600
"""How old a mirror's signed index may be. Debian says 7 days for these suites, and local mirrors
and snapshots lag behind more than that."""

_MAINTAINER_ONLY = """
    adduser debconf dirmngr gnupg gpg gpg-agent locales login.defs lsb-base media-types netbase
    openssl passwd perl perl-base procps python3 sensible-utils ssl-cert systemd sysvinit-utils ucf
    postgresql-common postgresql-client-common tzdata
""".split()  # noqa: SIM905 - a list of words reads better


@dataclass(frozen=True)
class Group:
    """Packages that are unpacked together, and the programs in them that are made runnable."""

    packages: tuple[str, ...]
    programs: tuple[str, ...]
    """Glob patterns below the prefix."""


GROUPS = {
    "servers": Group(
        (
            "asterisk",
            "asterisk-modules",
            "asterisk-core-sounds-en-wav",
            "asterisk-moh-opsound-wav",
            "postgresql-18",
        ),
        ("usr/sbin/asterisk", "usr/lib/postgresql/18/bin/*"),
    ),
    "speech": Group(("espeak-ng", "sox"), ("usr/bin/espeak-ng", "usr/bin/sox_ng")),
    "peers": Group(("sip-tester", "baresip-core"), ("usr/bin/sipp", "usr/bin/baresip")),
}

_TOOL_GROUP = {
    "asterisk": "servers",
    "postgres": "servers",
    "initdb": "servers",
    "pg_ctl": "servers",
    "psql": "servers",
    "espeak-ng": "speech",
    "sox": "speech",
    "sipp": "peers",
    "baresip": "peers",
}
_TOOL_PLACES = ("bin", "usr/bin", "usr/sbin", "usr/lib/postgresql/18/bin")


@dataclass(frozen=True)
class Prefix:
    """An unpacked set of packages. ``versions`` maps package to version."""

    root: Path
    versions: dict[str, str]

    def tool(self, name: str) -> Path:
        """The program ``name``; raises ``ServiceError`` if the packages have none."""
        for place in _TOOL_PLACES:
            path = self.root / place / name
            if path.exists():
                return path
        raise ServiceError(f"{self.root} has no program {name!r}", error_id="no_tool")

    @property
    def libraries(self) -> Path:
        """The folder of shared libraries, e.g. ``…/usr/lib/x86_64-linux-gnu``."""
        return _library_folder(self.root)


def cache_folder() -> Path:
    """Where private packages are kept (see the module's text)."""
    named = os.environ.get("VSEK_CACHE")
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/vsek")
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache").absolute() / "vsek"


def ensure(
    names: Sequence[str],
    *,
    refresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Prefix:
    """The prefix that holds the groups ``names``; it is downloaded and built if need be.

    Several groups share one prefix and one set of libraries. ``refresh`` asks the mirror for newer
    versions. Raises ``InputError`` for an unknown group and ``ServiceError``, with what to do
    about it, when the packages cannot be had.
    """
    unknown = sorted(set(names) - set(GROUPS))
    if unknown or not names:
        raise InputError(
            f"Unknown group of packages {unknown}",
            field="names",
            value=list(names),
            remedy="Known ones: " + ", ".join(GROUPS),
        )
    label = "+".join(sorted(set(names)))
    cache = cache_folder()
    say = progress or (lambda _text: None)
    if not refresh and (found := _current(cache, label)):
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"Cannot write the package cache {cache}: {error.strerror}",
            remedy="Point VSEK_CACHE at a folder that you may write",
        ) from error
    with _locked(cache / "lock"):
        if not refresh and (found := _current(cache, label)):
            return found
        return _build(cache, label, [GROUPS[name] for name in sorted(set(names))], say)


def find_tool(name: str) -> Path:
    """The program ``name``: from the PATH if it is there, otherwise from the private packages.

    Asterisk and PostgreSQL are taken from the PATH only in a version that vsek was made for.
    """
    group = _TOOL_GROUP.get(name)
    if group is None:
        raise InputError(f"Unknown tool {name!r}", field="name", value=name)
    on_path = shutil.which(name)
    if on_path and group != "servers":
        return Path(on_path)
    return ensure([group]).tool(name)


def _current(cache: Path, label: str) -> Prefix | None:
    try:
        index = json.loads((cache / f"{label}.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    root = Path(index["root"])
    if index.get("format") != FORMAT or root.parent != cache or not root.is_dir():
        return None
    return Prefix(root, index["versions"])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(cache: Path, label: str, groups: list[Group], say: Callable[[str], None]) -> Prefix:
    wanted = sorted({package for group in groups for package in group.packages})
    apt = _Apt(cache / "apt")
    say("Looking for packages …")
    suite = apt.use_suite_with_asterisk()
    say(f"Downloading {', '.join(wanted)} from {suite} …")
    debs = apt.download(wanted)
    versions = {name: version for name, version, _ in debs}
    digest = hashlib.sha256(json.dumps([FORMAT, sorted(versions.items())]).encode()).hexdigest()
    root = cache / f"{label}-{digest[:12]}"
    if not root.is_dir():
        staging = cache / f"{root.name}.new-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o755)
        say(f"Unpacking {len(debs)} packages …")
        try:
            _unpack([path for _, _, path in debs], staging)
            _make_runnable(staging, root, [p for group in groups for p in group.programs])
            _write_wrappers(staging, root)
            staging.rename(root)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    index = cache / f"{label}.json"
    fresh = index.with_suffix(f".new-{os.getpid()}")
    fresh.write_text(
        json.dumps({"format": FORMAT, "suite": suite, "root": str(root), "versions": versions})
    )
    fresh.rename(index)
    return Prefix(root, versions)


def _run(command: Sequence[str | Path], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        told = [line for line in lines if line.startswith(("E:", "W:", "Err"))] or lines
        raise ServiceError(
            f"{Path(command[0]).name} failed: {' '.join(told[-4:])}", error_id="packages"
        )
    return done.stdout


class _Apt:
    """apt-get with a state of its own. Keeps the machine's ``Acquire`` settings (proxies) and
    keys, and none of its hooks and pins."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise ServiceError(
                "Private servers are built from Debian packages, and this machine has no apt",
                remedy="Use the container image, or point vsek at an Asterisk and a PostgreSQL"
                " that run already (VSEK_ARI__URL, VSEK_DATABASE__DSN; see README)",
            )
        self._folder = folder
        for part in ("lists/partial", "archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._arch = _run(["dpkg", "--print-architecture"]).strip()
        self._write_status()
        self._write_config()
        self._env = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def _write_status(self) -> None:
        stanzas = [
            f"Package: {name}\nStatus: install ok installed\nVersion: 99:0\nMulti-Arch: allowed\n"
            f"Architecture: {self._arch}\nMaintainer: vsek <vsek@localhost>\n"
            "Description: only maintainer scripts need it\n"
            for name in _MAINTAINER_ONLY
        ]
        (self._folder / "status").write_text("\n".join(stanzas))

    def _write_config(self) -> None:
        inherited = _run(["apt-config", "dump", "Acquire"])
        kept = [
            line
            for line in inherited.splitlines()
            if line.startswith("Acquire::") and not line.startswith("Acquire::IndexTargets")
        ]
        own = {
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::Min-ValidTime": str(_RELEASE_VALID_S),
            "APT::Install-Recommends": "false",
            "APT::Architecture": self._arch,
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::sourcelist": str(self._folder / "vsek.sources"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": str(self._folder),
            "Dir::State::lists": str(self._folder / "lists"),
            "Dir::State::status": str(self._folder / "status"),
            "Dir::Cache": str(self._folder),
            "Dir::Cache::archives": str(self._folder / "archives"),
        }
        lines = [line for line in kept if not line.startswith("Acquire::Languages")]
        lines += [f'{key} "{value}";' for key, value in own.items()]
        (self._folder / "apt.conf").write_text("\n".join(lines) + "\n")

    def use_suite_with_asterisk(self) -> str:
        """Points apt at the first suite that has a new enough Asterisk and returns its name."""
        troubles: list[str] = []
        update = ["apt-get", "-qq", "-o", "APT::Update::Error-Mode=any"]
        for mirror in mirrors.of_this_machine():
            for suite in SUITES:
                (self._folder / "vsek.sources").write_text(mirror.stanza(suite))
                try:
                    _run([*update, "update"], self._env)
                    policy = _run(["apt-cache", "policy", "asterisk"], self._env)
                except ServiceError as error:
                    troubles.append(f"{suite}: {error.message}")
                    continue
                found = re.search(r"Candidate: (\S+)", policy)
                if found and asterisk_is_suitable(found[1]):
                    return suite
                troubles.append(f"{suite}: has Asterisk {found[1] if found else 'nowhere'}")
        raise ServiceError(
            f"No Debian suite with Asterisk {TESTED_ASTERISK} or a later 22 could be read"
            f" ({'; '.join(troubles)})",
            remedy="Check the network and /etc/apt, name a mirror in VSEK_DEBIAN_MIRROR, use the"
            " container image, or point vsek at servers that run already (README)",
            error_id="packages",
        )

    def download(self, wanted: Sequence[str]) -> list[tuple[str, str, Path]]:
        """Downloads ``wanted`` and what they depend on; returns (package, version, file)."""
        command = ["apt-get", "-qq", "-y", "--download-only", "install", *wanted]
        _run(command, self._env)
        files = self._folder / "archives"
        found: list[tuple[str, str, Path]] = []
        plan = _run(["apt-get", "-qq", "-s", "install", *wanted], self._env)
        for name, version, arch in re.findall(
            r"^Inst (\S+) \((\S+) .*\[(\w+)\]", plan, re.MULTILINE
        ):
            file = files / f"{name}_{version.replace(':', '%3a')}_{arch}.deb"
            if not file.is_file():
                raise ServiceError(f"apt-get left no {file.name} in {files}", error_id="packages")
            found.append((name, version, file))
        return found


def asterisk_is_suitable(version: str) -> bool:
    """Whether a version such as ``1:22.10.1+dfsg-1`` or ``Asterisk 22.10.1`` is one for vsek."""
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", version.rpartition(":")[2])
    if not numbers:
        return False
    found = tuple(int(part) for part in numbers.groups())
    least = tuple(int(part) for part in TESTED_ASTERISK.split("."))
    return least <= found < (23,)


def _unpack(debs: Sequence[Path], root: Path) -> None:
    # One after the other into the same tree would be safe too; two at a time halves the wait, and
    # Debian packages do not share files.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda deb: _run(["dpkg", "-x", deb, root]), debs))


def _library_folder(root: Path) -> Path:
    for candidate in sorted((root / "usr/lib").glob("*-linux-gnu*")):
        if (candidate / "libc.so.6").exists():
            return candidate
    raise ServiceError(f"No C library in {root}", error_id="packages")


def _patchelf() -> Path:
    beside = Path(sys.executable).parent / "patchelf"
    found = beside if beside.exists() else shutil.which("patchelf")
    if not found:
        raise ServiceError(
            "patchelf is missing", remedy="Install vsek with its dependencies (it is one of them)"
        )
    return Path(found)


def _make_runnable(staging: Path, final: Path, patterns: Sequence[str]) -> None:
    patchelf = _patchelf()
    programs = sorted({path for pattern in patterns for path in staging.glob(pattern)})
    libraries = final / _library_folder(staging).relative_to(staging)
    by_interpreter: dict[str, list[Path]] = {}
    for program in programs:
        if program.is_symlink() or program.read_bytes()[:4] != b"\x7fELF":
            continue
        interpreter = _run([patchelf, "--print-interpreter", program]).strip()
        by_interpreter.setdefault(Path(interpreter).name, []).append(program)
    for name, files in by_interpreter.items():
        loaders = sorted(staging.glob(f"usr/lib*/**/{name}"))
        if not loaders:
            raise ServiceError(f"The packages bring no dynamic loader {name}", error_id="packages")
        loader = final / loaders[0].relative_to(staging)
        for file in files:
            file.chmod(file.stat().st_mode | stat.S_IWUSR)
        search = f"{libraries}:{libraries / 'pulseaudio'}"
        options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", search]
        _run([str(patchelf), *options, *(str(file) for file in files)])
    # A library with a RUNPATH of its own does not look where its program's RPATH says.
    own_path = [path for path in staging.glob("usr/lib/*/libpulse*.so*") if not path.is_symlink()]
    if own_path:
        _run([patchelf, "--remove-rpath", *own_path])


def _write_wrappers(staging: Path, final: Path) -> None:
    """Programs that look for data under an absolute path get a script that tells them where."""
    libraries = final / _library_folder(staging).relative_to(staging)
    wrappers = {
        "espeak-ng": (
            f"ESPEAK_DATA_PATH={libraries}/espeak-ng-data",
            "usr/bin/espeak-ng",
        ),
        "sox": ("", "usr/bin/sox_ng"),
    }
    for name, (variables, program) in wrappers.items():
        if not (staging / program).exists():
            continue
        script = staging / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\n{variables} exec "{final / program}" "$@"\n')
        script.chmod(0o755)
