#!/usr/bin/env bash
# Makes swell's environment from the bundle that this script came in, without internet. Run it as often as you like: what is
# there already is left as it is, and what an interruption left half done is made anew.
#
#   tar -xf swell-bundle-VERSION.tar
#   swell-bundle-VERSION/setup_env.sh [FOLDER]     default: swell-env-VERSION in the folder you are in
#
# FOLDER must be where the compute nodes see it and where there is room for some 3 GB in 40,000 files: on a cluster that is the
# shared scratch, not the home directory. A running search needs it: give another version another folder.
#   PYTHON   the Python 3.11 to use; from a module, or `conda create --prefix ... python=3.11` and that one's bin/python
set -euo pipefail
umask 077    # the environment is yours alone: others must not be able to change what your jobs run
bundle=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

die() { echo "setup_env: $*" >&2; exit 1; }

[ -d "$bundle/wheelhouse" ] || die "must lie in an unpacked bundle, beside its folder 'wheelhouse'; make one with: make bundle"
[ "$(cat "$bundle/machine")" = "$(uname -m)" ] || die "the bundle is for $(cat "$bundle/machine"), and this is $(uname -m)"
requirement=$(cat "$bundle/requirement")
version=${requirement##*==}
[ $# -le 1 ] || die "usage: setup_env.sh [FOLDER]"
case ${1:-} in -*) die "usage: setup_env.sh [FOLDER]" ;; esac
env=$(realpath -m "${1:-swell-env-$version}")
marker=$env/.swell-bundle    # says which bundle; without a last line "complete" the environment is not

is_311() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; }

choose_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    is_311 "$PYTHON" || die "PYTHON must be a Python 3.11 with venv and ensurepip, got $PYTHON"
    python=$PYTHON
    return
  fi
  for candidate in python3.11 python3 python; do
    if is_311 "$candidate"; then python=$candidate; return; fi
  done
  die "needs Python 3.11 (with venv and ensurepip); load a module (module avail python), or make one with
  conda create --prefix FOLDER python=3.11    and then    PYTHON=FOLDER/bin/python $0"
}

fingerprint() { # of the bundle
  (cd "$bundle" && { cat requirement constraints.txt; cd wheelhouse && sha256sum -- *.whl; } | sha256sum | cut -d' ' -f1)
}

build() {
  if [ -e "$env" ] && [ -n "$(ls -A "$env")" ] && [ ! -e "$marker" ]; then
    die "$env is not empty, and not an environment that this script began; name another folder"
  fi
  mkdir -p "$env"
  chmod 700 "$env"    # it may have been there
  fingerprint >"$marker"
  find "$env" -mindepth 1 ! -path "$marker" -delete    # not `venv --clear`, which would delete the marker as well
  "$python" -m venv "$env"
  echo "setup_env: installing $requirement into $env; this takes a few minutes" >&2
  # No settings of the user's or the site's: they could name an index, or another constraint.
  env -u PYTHONPATH -u PYTHONHOME PIP_CONFIG_FILE=/dev/null PYTHONNOUSERSITE=1 "$env/bin/python" -m pip install --quiet \
    --disable-pip-version-check --no-cache-dir --no-index --find-links "$bundle/wheelhouse" \
    --constraint "$bundle/constraints.txt" "$requirement"
  env -u PYTHONPATH "$env/bin/swell" --help >/dev/null || die "swell does not start in $env"
  chmod -R go= "$env"    # venv copies the modes of some files
  echo complete >>"$marker"
}

if [ -e "$marker" ] && [ "$(tail -n 1 "$marker")" = complete ]; then
  [ "$(head -n 1 "$marker")" = "$(fingerprint)" ] || die "$env was made from another bundle, and searches may be running in it;
  name another folder, or delete this one first"
  echo "setup_env: $env is there and complete" >&2
else
  choose_python
  build
fi

case $env in "$(realpath -m "${HOME:-/nonexistent}")"/*)
  echo "setup_env: $env is in your home directory; on most clusters scratch is faster and larger" >&2 ;;
esac
cat <<END
# For your site's file (see docs/cluster.md):
python: $env/bin/python
# For your shell on the login node:
#   export PATH=$env/bin:\$PATH
END
