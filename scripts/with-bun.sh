#!/bin/sh
# Runs Bun with the given arguments, installing Bun and the packages first when they are missing or out of date.
# Everything comes from npm, so a machine needs Node and npm only. When nothing is missing this costs one `cmp`.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
bun="$root/node_modules/.bin/bun"
stamp="$root/node_modules/.weir-installed"

if ! [ -x "$bun" ] || ! cmp -s "$root/bun.lock" "$stamp"; then
  version=$(sed -n 's/.*"bun": "\([0-9.]*\)".*/\1/p' "$root/package.json")
  echo "Installing Bun $version and the packages (once) …" >&2
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if ! (cd "$root" && npx --yes "bun@$version" install --frozen-lockfile >"$log" 2>&1); then
    cat "$log" >&2
    echo "The packages could not be installed: see the lines above; check the network and the npm registry, then run it again." >&2
    exit 1
  fi
  cp "$root/bun.lock" "$stamp"
  rm -f "$log"
  trap - EXIT
fi

# Paths in arguments stay relative to where the caller stands; scripts are named relative to the repository.
script=$1
shift
case $script in
  x) exec "$bun" x "$@" ;;
  *) exec "$bun" "$root/$script" "$@" ;;
esac
