#!/bin/sh
# The life of the package on a machine of its own: this one's files under a layer that is thrown away, and a systemd that
# is process 1 there. Run as: unshare --mount --propagation private trial.sh PACKAGE GATEWAY LISTEN TOKEN DIRECTORY
#
# Everything that is said about it goes into DIRECTORY; the caller plays the gateway.
set -eu
package=$1 gateway=$2 listen=$3 token=$4 out=$5

layer=$out/layer
mkdir "$layer"
mount -t tmpfs layer "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" overlay "$layer/root"
root=$layer/root
rm -f "$root/etc/systemd/system/default.target"
# Not a first boot, which enables what its presets say.
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"

cp "$package" "$root/package.deb"
chroot "$root" dpkg -i /package.deb > "$out/install"

sed -i "s|18789|$gateway|; 1i listen = \"127.0.0.1:$listen\"" "$root/etc/scope-shim/scope-shim.toml"
chroot "$root" install -m 640 -g scope-shim /dev/null /etc/scope-shim/gateway.token
printf %s "$token" > "$root/etc/scope-shim/gateway.token"
mkdir -p "$root/etc/systemd/system/scope-shim.socket.d"
printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:%s\n' "$listen" \
    > "$root/etc/systemd/system/scope-shim.socket.d/port.conf"

cat > "$root/trial" <<'TRIAL'
#!/bin/sh
exec > /said 2>&1
as() { setpriv --reuid=scope-shim --regid=scope-shim --clear-groups "$@"; }
set -x
systemctl is-active scope-shim.socket scope-shim.service
systemctl start scope-shim.socket scope-shim.service
systemctl is-active scope-shim.socket scope-shim.service
n=0
until journalctl -u scope-shim -o cat | grep -q 'the delegate is paired' || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done
grep -E '^(Uid|NoNewPrivs|Seccomp|CapEff):' "/proc/$(systemctl show -P MainPID scope-shim)/status"
systemctl reload scope-shim
systemctl is-active scope-shim.service
as scope-shim unpair --yes
systemctl is-active scope-shim.service
systemctl stop scope-shim.socket scope-shim.service
systemctl show scope-shim.service -p Result
set +x
journalctl -u scope-shim -o cat --no-pager
systemctl poweroff --no-block
TRIAL
chmod +x "$root/trial"
cat > "$root/etc/systemd/system/trial.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/trial
UNIT
cat > "$root/etc/systemd/system/trial.target" <<'UNIT'
[Unit]
Requires=basic.target
Wants=trial.service
AllowIsolate=true
UNIT

# Its end is a power-off, which is not always reported as success.
timeout 120 systemd-nspawn -q --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off \
    -D "$root" --boot -- --unit=trial.target > "$out/boot" 2>&1 || true
cat "$root/said" > "$out/said"

chroot "$root" dpkg --purge scope-shim > "$out/purge" 2>&1
(cd "$layer/upper" && find . -path '*scope-shim*') | LC_ALL=C sort > "$out/left"
