#!/usr/bin/env bash
# Build the sandbox image `envkit/base:bookworm` from Debian packages, without a container registry.
# Needs root, debootstrap and a Docker engine. Does nothing when the image of this recipe is there;
# the unpacked tree is cached, so a fresh engine costs seconds. `envkit doctor --build-image` runs it.
set -euo pipefail

suite=bookworm
image=envkit/base:$suite
packages=python3,git,procps,less,patch,curl,ca-certificates

say() { printf 'base image: %s\n' "$*" >&2; }

recipe=$(cksum <"$0" | cut -d' ' -f1) # another recipe, another tarball and another image
built=$(docker image inspect -f '{{index .Config.Labels "envkit.recipe"}}' "$image" 2>/dev/null) || built=
[ "$built" != "$recipe" ] || exit 0

cache=${XDG_CACHE_HOME:-~/.cache}/envkit
tarball=$cache/base-$suite-$recipe.tar.gz

build() {
    if [ "$(id -u)" != 0 ]; then
        say "building needs root: sudo envkit doctor --build-image" && return 1
    elif ! command -v debootstrap >/dev/null; then
        say "debootstrap is missing: apt-get install debootstrap" && return 1
    fi
    # The mirror this machine already uses; elsewhere (Ubuntu, say) debootstrap knows its own.
    local mirror
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && !/security/ { print $2; exit }') || true
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    say "building $image from Debian packages; two or three minutes, once"
    debootstrap --variant=minbase --include="$packages" "$suite" "$root" ${mirror:+"$mirror"} \
        </dev/null >"$cache/debootstrap.log" 2>&1 ||
        { say "debootstrap failed: $(tail -n 1 "$cache/debootstrap.log")" && return 1; }
    # A sandbox has no network, so no package manager state; and nobody reads manuals there.
    rm -rf "$root"/usr/share/{doc,info,lintian,locale,man} "$root"/var/cache/* \
        "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/tmp/*
    mkdir -p "$cache"
    tar -C "$root" --numeric-owner --exclude='./dev/*' -czf "$tarball.part" .
    mv "$tarball.part" "$tarball" # whole or not at all
}

mkdir -p "$cache"
[ -e "$tarball" ] || build
say "importing $image"
# The name moves only now: until here whoever runs the older image keeps doing so.
docker import --change 'ENV LANG=C.UTF-8' --change 'CMD ["/bin/bash"]' \
    --change "LABEL envkit.recipe=$recipe" "$tarball" "$image" >/dev/null
