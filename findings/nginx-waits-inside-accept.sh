#!/bin/sh
# nginx makes the listening sockets that it opens itself non-blocking, but not
# those that it inherits through the variable NGINX, its way to hand sockets over
# at an upgrade. With a second process on the same socket an nginx worker that was
# woken for a connection finds it taken by the other and waits inside accept().
# Until somebody connects again it serves none of the connections that it has: a
# kept connection gets no answer, on an idle machine.
#
# Seen with nginx 1.22.1-9+deb12u11 (Debian 12), one worker, NGINX="3;", and
# another process that accepts:
#	O_NONBLOCK of the socket after nginx has taken it: False
#	a kept connection had no answer for 1 s, the worker in inet_csk_accept
#	one more connection to the address, and the answer came
#
# For Understudy: the supervisor's sockets are non-blocking from the start.
dir=$(mktemp -d)
. "$(dirname "$0")/lib"
need python3
debs nginx=1.22.1-9+deb12u11
"$dir/root/usr/sbin/nginx" -v >"$dir/log" 2>&1 || cannot "$(tail -1 "$dir/log")"
cat >"$dir/share.py" <<'PY'
import fcntl, os, socket, subprocess, sys, threading, time
dir = sys.argv[1]
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen(4096)
address = s.getsockname()
os.dup2(s.fileno(), 3)
with open(dir + "/nginx.conf", "w") as f:
    f.write("""daemon off; worker_processes 1; user root; pid %s/pid; error_log %s/log;
events { }
http { access_log off; keepalive_timeout 600; keepalive_requests 1000000; client_body_temp_path %s/b; proxy_temp_path %s/p;
  fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;
  server { listen 127.0.0.1:%d; location / { return 200 "hello"; } } }""" % (*[dir] * 7, address[1]))
nginx = subprocess.Popen([dir + "/root/usr/sbin/nginx", "-p", dir, "-e", dir + "/log", "-c", dir + "/nginx.conf"], pass_fds=[3],
                         env={**os.environ, "NGINX": "3;"})
def ask(c):
    c.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return c.recv(1000)
try:
    kept = socket.create_connection(address, 30)
    kept.settimeout(30)
    assert ask(kept).endswith(b"hello")
    print("O_NONBLOCK of the socket after nginx has taken it:", nonblocking := bool(fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK))
    def other():  # the second process that accepts
        while True:
            os.close(s._accept()[0])
    threading.Thread(target=other, daemon=True).start()
    worker = subprocess.run(["ps", "-o", "pid=", "--ppid", str(nginx.pid)], capture_output=True, text=True).stdout.split()[0]
    kept.settimeout(1)
    deadline, stuck = time.time() + 60, False
    while not stuck and time.time() < deadline:
        socket.create_connection(address, 30).close()
        kept.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            kept.recv(1000)
        except TimeoutError:
            where = open("/proc/%s/wchan" % worker).read()
            stuck = where == "inet_csk_accept"
            print("a kept connection had no answer for 1 s, the worker in", where)
    came = False
    for _ in range(200):  # each of them may go to the other
        if not stuck or came:
            break
        c = socket.create_connection(address, 30)
        try:
            came = kept.recv(1000).endswith(b"hello")
        except TimeoutError:
            pass
        c.close()
    if came:
        print("one more connection to the address, and the answer came")
    sys.exit(not (stuck and came and not nonblocking))
finally:
    nginx.terminate()
    nginx.wait()
PY
/usr/bin/python3 "$dir/share.py" "$dir" || changed "no worker was seen waiting inside accept()"
holds "an nginx worker waits inside accept() on an inherited socket that others have too"
