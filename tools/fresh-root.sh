# Sourced by the checks that need a new Debian root.
#
# What belongs to this machine and not to vsek (mirrors, proxies, certificates, pip's and apt's
# configuration) is carried into the root at run time, so that the root reaches packages in the way
# this machine does. Nothing of it is written down here.

SUITE=bookworm

need_root_and() { # need_root_and PROGRAM…
  [ "$(id -u)" = 0 ] || { echo "needs root (debootstrap, chroot)" >&2; exit 2; }
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || { echo "apt-get install $program first" >&2; exit 2; }
  done
}

new_root() { # new_root FOLDER PACKAGE,PACKAGE…   unless there is one already
  local root=$1 packages=$2 mirror
  [ ! -e "$root/etc/debian_version" ] || return 0
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  echo "== Debian $SUITE with $packages in $root"
  mkdir -p "$root"
  chmod 755 "$root" # mktemp -d makes it for its owner alone; in there it is / for everybody
  debootstrap --variant=minbase --include="$packages" "$SUITE" "$root" "$mirror" \
    >"$root.debootstrap.log" 2>&1 || { tail -n 20 "$root.debootstrap.log" >&2; exit 1; }
  rm -f "$root.debootstrap.log"
}

carry() { # carry ROOT PATH…   copies to the same place in the root, as files and not as links
  local root=$1 path
  shift
  for path in "$@"; do
    [ -e "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    rm -rf "${root:?}$path"
    cp -aL "$path" "$root$path"
  done
}

carry_configuration() { # carry_configuration ROOT
  local root=$1 file
  rm -f "$root/etc/apt/sources.list" # debootstrap's; the machine's own sources take its place
  carry "$root" /etc/pip.conf /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/auth.conf.d \
    /etc/apt/preferences.d /etc/apt/keyrings /etc/apt/trusted.gpg.d /usr/share/keyrings \
    /etc/ssl/certs /usr/local/share/ca-certificates
  # apt's settings, less those that name programs which only this machine has.
  for file in /etc/apt/apt.conf.d/*; do
    grep -qE 'Invoke|Pre-Install-Pkgs' "$file" || carry "$root" "$file"
  done
}

local_package_folders() { # folders of this machine in which pip is told to look
  local place
  python3 -m pip config list 2>/dev/null | grep -oE "(file://)?/[^' ]+" | sed 's|^file://||' |
    sort -u | while read -r place; do
      [ ! -d "$place" ] || case $place in */simple) dirname "$place" ;; *) echo "$place" ;; esac
    done
}

carried_environment() { # NAME=VALUE, one per line: what pip and TLS need to know
  env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_[A-Z]+|[A-Z_]*CA_BUNDLE|[a-zA-Z]+_proxy|[A-Z]+_PROXY)='
}
