#!/bin/sh
# gunicorn makes a listening socket that it inherits non-blocking. O_NONBLOCK
# belongs to the open file, which everybody has who got the descriptor from the
# same place, and it stays after gunicorn has died. The next program on the
# socket that takes it for blocking fails at once: in Python accept() raises
# BlockingIOError while getblocking() says True and gettimeout() None.
#
# Seen with gunicorn 20.1.0-6+deb12u1 (Debian 12, Python 3.11.2), --bind fd://3:
#	before gunicorn: accept() waits
#	gunicorn answers: hello
#	after gunicorn's death: BlockingIOError, getblocking() True gettimeout() None
#
# For Understudy: the supervisor's sockets are non-blocking from the start, and
# docs/PROTOCOL.md, "activate", tells workers so.
dir=$(mktemp -d)
. "$(dirname "$0")/lib"
need python3
debs gunicorn=20.1.0-6+deb12u1 python3-gunicorn=20.1.0-6+deb12u1 python3-pkg-resources
cat >"$dir/app.py" <<'PY'
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
PY
cat >"$dir/next.py" <<'PY'
# What a program does that is given a blocking listening socket. Nobody connects.
import signal, socket
def waits(*_):
    print("accept() waits", flush=True)
    raise SystemExit(0)
signal.signal(signal.SIGALRM, waits)
signal.alarm(1)
s = socket.socket(fileno=3)
try:
    s.accept()
except BlockingIOError:
    print("BlockingIOError, getblocking()", s.getblocking(), "gettimeout()", s.gettimeout())
PY
cat >"$dir/share.py" <<'PY'
import os, socket, subprocess, sys, time, urllib.request
dir = sys.argv[1]
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
os.dup2(s.fileno(), 3)
def after():
    return subprocess.run(["/usr/bin/python3", dir + "/next.py"], pass_fds=[3], capture_output=True, text=True).stdout.strip()
print("before gunicorn:", before := after())
g = subprocess.Popen(["/usr/bin/python3", "-m", "gunicorn", "--bind", "fd://3", "--chdir", dir, "app:app"], pass_fds=[3],
                     stderr=open(dir + "/log", "w"), env={**os.environ, "PYTHONPATH": dir + "/root/usr/lib/python3/dist-packages"})
print("gunicorn answers:", urllib.request.urlopen("http://127.0.0.1:%d" % s.getsockname()[1], timeout=60).read().decode())
g.terminate()
g.wait()
print("after gunicorn's death:", last := after())
sys.exit(not (before == "accept() waits" and last == "BlockingIOError, getblocking() True gettimeout() None"))
PY
python3 "$dir/share.py" "$dir" || changed "the socket is not left as described"
holds "gunicorn leaves a shared listening socket non-blocking"
