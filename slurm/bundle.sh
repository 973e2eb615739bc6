#!/usr/bin/env bash
# One archive with all that swell needs, for machines without internet: swell's own wheel, a wheel of everything it depends on
# in the versions of constraints.txt, and setup_env.sh, which makes an environment of them.
#
#   slurm/bundle.sh [FOLDER]         writes FOLDER/swell-bundle-VERSION.tar (default: build)
#
# Run it where there is internet, on the kind of machine that is to use it: same processor, a C library no newer.
#   PYTHON   the Python 3.11 to make it with (default: python3.11)
#   EXTRAS   swell's extras to bring along (default: postgres; gp is larger than all the rest; "" for none)
set -euo pipefail
cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.."
umask 077
python=${PYTHON:-python3.11}
extras=${EXTRAS-postgres}
out=${1:-build}

die() { echo "bundle: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || die "needs Python 3.11, got PYTHON=$python"
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# From a copy: setuptools would otherwise pack what an earlier build left in build/lib.
mkdir "$work/source"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
  tar --null --files-from=- -cf - | tar -xf - -C "$work/source"
pip=("$python" -m pip --disable-pip-version-check)
"${pip[@]}" wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
own=$(echo "$work"/swell-*.whl)
version=$(basename "$own" | cut -d- -f2)

bundle=$work/swell-bundle-$version
mkdir -p "$bundle/wheelhouse"
cp constraints.txt slurm/setup_env.sh "$bundle"
echo "swell${extras:+[$extras]}==$version" >"$bundle/requirement"
uname -m >"$bundle/machine"
if [ -n "${SWELL_BUNDLE_ONLY_OWN:-}" ]; then cp "$own" "$bundle/wheelhouse"    # for tests: a minute less, and 500 MB
else "${pip[@]}" wheel --quiet --constraint constraints.txt --wheel-dir "$bundle/wheelhouse" "$own${extras:+[$extras]}"; fi

# Not compressed: wheels are.
tar -C "$work" --owner=0 --group=0 -cf "$out/swell-bundle-$version.tar" "swell-bundle-$version"
du -h "$out/swell-bundle-$version.tar"
