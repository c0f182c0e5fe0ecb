#!/bin/sh
# HAProxy in master-worker mode tells its supervisor RELOADING=1 before it has
# ever said READY=1: a cold start is for it the reload of a configuration that it
# did not have. sd_notify(3) has RELOADING=1 for a service that was ready and
# READY=1 for its end, so a supervisor that takes a reload only from a service
# that is ready calls this start an error, or waits for ever.
#
# Seen with HAProxy 2.6.12-1+deb12u4 (Debian 12), -Ws, the first start:
#	RELOADING=1
#	READY=1
#
# For Understudy: docs/PROTOCOL.md has no such message; a worker says ready once.
dir=$(mktemp -d)
. "$(dirname "$0")/lib"
need python3
debs haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
"$dir/root/usr/sbin/haproxy" -v >"$dir/log" 2>&1 || cannot "$(tail -1 "$dir/log")"
cat >"$dir/haproxy.cfg" <<CFG
defaults
	mode http
	timeout client 5s
	timeout server 5s
	timeout connect 5s
frontend f
	bind unix@$dir/http
	http-request return status 200
CFG
cat >"$dir/notify.py" <<'PY'
import os, socket, subprocess, sys
dir = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(dir + "/notify")
s.settimeout(60)
p = subprocess.Popen([dir + "/root/usr/sbin/haproxy", "-Ws", "-f", dir + "/haproxy.cfg", "-p", dir + "/pid"],
                     env={**os.environ, "NOTIFY_SOCKET": dir + "/notify"}, stderr=open(dir + "/log", "w"))
said = []
try:
    while "READY=1" not in said:
        said += [line for line in s.recv(4096).decode().split("\n") if line in ("RELOADING=1", "READY=1")]
finally:
    p.terminate()
    p.wait()
print("\n".join(said))
sys.exit(said != ["RELOADING=1", "READY=1"])
PY
python3 "$dir/notify.py" "$dir" || changed "it says something else"
holds "HAProxy says RELOADING=1 before its first READY=1"
