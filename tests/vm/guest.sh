#!/bin/bash
# Runs inside the VM as root: the daemons as systemd units, then views, control groups, a changeover
# and a reboot's worth of recovery, on Debian's own kernel. Its last line is `exit: N`.
set -uo pipefail
failures=0
check() { # check SENTENCE COMMAND…
	local what=$1
	shift
	if "$@" >/tmp/check.out 2>&1; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		sed 's/^/    /' /tmp/check.out | tail -n 20
		failures=$((failures + 1))
	fi
}
json() { pkgtool --json "$@"; }
pid_of() { json ps | tr '{' '\n' | sed -n "s/.*\"name\":\"$1\".*\"pid\":\([0-9]*\).*/\1/p"; }

mkdir -p /usr/libexec/changeover
install -m 755 /mnt/bin/installd /mnt/bin/sysmgrd /usr/libexec/changeover/
install -m 755 /mnt/bin/pkgtool /usr/bin/
install -m 644 /mnt/packaging/systemd/*.service /etc/systemd/system/
install -m 644 /mnt/packaging/dbus/org.changeover.conf /usr/share/dbus-1/system.d/
mkdir -p /etc/changeover
install -m 644 /mnt/packaging/etc/*.toml /etc/changeover/
systemctl daemon-reload
systemctl reload dbus
read -r old new </mnt/versions

check "the kernel is Debian 12's own" sh -c 'uname -r | grep "^6\.1\."'
check "AppArmor is on" grep -q Y /sys/module/apparmor/parameters/enabled
check "the control groups are pure v2" test -e /sys/fs/cgroup/cgroup.controllers
check "the units are well formed" systemd-analyze verify --man=no /etc/systemd/system/installd.service
check "installd starts as a unit" systemctl start installd
check "a package is refused while no key is trusted" sh -c '! pkgtool add /mnt/packages/libssl3_*.pkg'
check "the key that signed them is trusted" install -D -m 644 /mnt/vm.pub /etc/changeover/trust.d/vm.pub
check "packages are added" sh -c 'pkgtool add /mnt/packages/*.pkg'
check "the daemons are activated on the old library" \
	pkgtool activate --yes nginx redis-server memcached "libssl3=$old"
check "all of them are ready" sh -c '[ "$(pkgtool --json ps | tr "{" "\n" | grep -c "\"state\":\"ready\"")" -ge 3 ]'

nginx=$(pid_of nginx) memcached=$(pid_of memcached)
check "nginx lives below the delegated unit, not in sysmgrd's" \
	grep -q changeover-processes "/proc/$nginx/cgroup"
check "nginx maps nothing of the machine's /usr" \
	sh -c "! awk '\$6 ~ /^\\/usr/ { print \$6 }' /proc/$nginx/maps | sort -u | while read -r f; do [ \"\$(stat -Lc %i /proc/$nginx/root\$f)\" != \"\$(stat -Lc %i \$f 2>/dev/null)\" ] || echo \$f; done | grep ."
check "sysmgrd restarts under systemd without losing a process" sh -c "
	systemctl restart sysmgrd && [ \"\$(readlink /proc/$nginx/exe)\" ] && pkgtool --json ps | grep -q '\"pid\":$nginx,'"
check "the update of libssl3 is planned" sh -c "pkgtool --json plan activate libssl3=$new | grep -q '\"verdict\":\"restart\"'"
check "and taken" pkgtool activate --yes "libssl3=$new"
check "nginx was restarted" [ "$(pid_of nginx)" != "$nginx" ]
check "memcached's pid is as the plan said" sh -c "
	pkgtool --json history >/dev/null && kill -0 $(pid_of memcached)"
check "and taken back" pkgtool deactivate --yes "libssl3=$new"
greet() { # greet: what the Self-Managing example answers
	perl -MIO::Socket::UNIX -e '
		my $host = IO::Socket::UNIX->new(Peer => "/run/plugin-host.sock") or die "no host: $!";
		print $host "hello Ada\n"; print scalar <$host>;'
}
check "the Self-Managing example is activated" \
	pkgtool activate --yes plugin-host=1 plugin-host-plugins=1 libgreeting=1
host=$(pid_of plugin-host)
for version in 2 1 2; do
	# This kernel cannot mount beneath: the second and third move stack on the first.
	check "it is moved to version $version" \
		pkgtool activate --yes "plugin-host-plugins=$version" "libgreeting=$version"
	check "and answers with plugin and library $version" \
		sh -c "echo '$(greet)' | grep -F '(hello $version, libgreeting $version,'"
done
check "all with the pid that it had" [ "$(pid_of plugin-host)" = "$host" ]

check "a second boot's recovery finds the committed set" sh -c '
	systemctl stop installd sysmgrd changeover-processes && rm -rf /run/changeover &&
	systemctl start installd && [ "$(pkgtool --json ps | tr "{" "\n" | grep -c "\"state\":\"ready\"")" -ge 3 ]'

[ "$failures" = 0 ] || journalctl --no-pager -u installd -u sysmgrd | tail -n 60
echo "$failures failed"
echo "exit: $((failures > 0))"
