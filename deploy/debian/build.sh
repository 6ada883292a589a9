#!/bin/sh
# Builds a Debian package from a scope-shim that is built already.
#
#   cargo build --release && deploy/debian/build.sh target/release/scope-shim .
#
# Nothing is enabled or started by it: whoever installs an incident tool switches it on.
set -eu

binary=${1:?usage: build.sh BINARY [DIRECTORY]}
out=$(realpath "${2:-.}")
deploy=$(cd "$(dirname "$0")/.." && pwd)
version=$("$binary" version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-The scope-shim authors} <${DEBEMAIL:-scope-shim@example.com}>"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022

install -D -m 755 "$binary" "$root/usr/bin/scope-shim"
# A Debian package has no debugging symbols in its program.
strip --strip-unneeded "$root/usr/bin/scope-shim"

install -D -m 644 -t "$root/lib/systemd/system" "$deploy"/systemd/*.service "$deploy"/systemd/*.socket
install -D -m 644 "$deploy/systemd/sysusers.conf" "$root/usr/lib/sysusers.d/scope-shim.conf"
install -D -m 644 "$deploy/systemd/scope-shim.toml" "$root/etc/scope-shim/scope-shim.toml"

bash_completions="$root/usr/share/bash-completion/completions"
zsh_completions="$root/usr/share/zsh/vendor-completions"
fish_completions="$root/usr/share/fish/vendor_completions.d"
mkdir -p "$bash_completions" "$zsh_completions" "$fish_completions"
"$binary" completions bash > "$bash_completions/scope-shim"
"$binary" completions zsh > "$zsh_completions/_scope-shim"
"$binary" completions fish > "$fish_completions/scope-shim.fish"
"$binary" man --all "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*.1

doc="$root/usr/share/doc/scope-shim"
install -D -m 644 "$deploy/README.md" "$doc/README.deploy.md"
install -D -m 644 "$deploy/../config/scope-shim.toml" "$doc/examples/scope-shim.toml"
for drop_in in gateway-user.conf credential.conf; do
    install -D -m 644 "$deploy/systemd/drop-in/$drop_in" "$doc/examples/$drop_in"
done
{
    echo "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    echo "Upstream-Name: scope-shim"
    echo
    echo "Files: *"
    grep -i '^copyright' "$deploy/../LICENSE" | sed 's/^Copyright (c)/Copyright:/I'
    echo "License: Expat"
    sed -n '/^Permission/,$p' "$deploy/../LICENSE" | sed 's/^$/./; s/^/ /'
} > "$doc/copyright"
date=$(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
printf 'scope-shim (%s) unstable; urgency=medium\n\n  * As released.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$date" | gzip -9n > "$doc/changelog.gz"

mkdir "$root/DEBIAN"
# The redirect belongs to the shim, and to nothing else that starts.
install -d "$root/usr/share/lintian/overrides"
echo 'scope-shim: systemd-service-file-refers-to-unusual-wantedby-target scope-shim.service *' \
    > "$root/usr/share/lintian/overrides/scope-shim"
for script in postinst prerm postrm; do
    install -m 755 "$deploy/debian/$script" "$root/DEBIAN/$script"
done
echo /etc/scope-shim/scope-shim.toml > "$root/DEBIAN/conffiles"
cat > "$root/DEBIAN/control" <<CONTROL
Package: scope-shim
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Section: net
Priority: optional
Depends: libc6 (>= 2.34), libgcc-s1 (>= 4.2), init-system-helpers (>= 1.54), systemd | systemd-standalone-sysusers
Suggests: nftables
Installed-Size: $(du -k -s "$root" | cut -f 1)
Description: proxy that restores scopes an OpenClaw gateway wrongly refuses
 It stands in front of an unpatched gateway, looks at the WebSocket handshake
 alone, and asks for what the gateway's own pairing records entitle a session
 to. Everything else goes through byte for byte.
 .
 The service is installed, but neither enabled nor started.
CONTROL
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs md5sum > DEBIAN/md5sums)
dpkg-deb --root-owner-group --build "$root" "$out/scope-shim_${version}_$architecture.deb"
