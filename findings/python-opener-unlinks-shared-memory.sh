#!/bin/sh
# A Python process that only opens a shared-memory segment which another process
# made unlinks it when it ends: multiprocessing.shared_memory registers what it
# opens with its resource tracker, as if it had made it. The owner goes on with
# memory that nobody else can open any more, and hears nothing of it; the tracker
# calls the segment "leaked". close() does not help. Since Python 3.13 there is
# track=False, which one has to know of.
#
# Seen with Python 3.11.2 (Debian 12, python3.11-minimal 3.11.2-6+deb12u8):
#	Python 3.11.2; made by the owner: /dev/shm/finding-26125
#	read by another process: the state of the owner
#	UserWarning: resource_tracker: There appear to be 1 leaked shared_memory objects to clean up at shutdown
#	after its end: /dev/shm/finding-26125 is gone
#
# For Understudy: docs/PROTOCOL.md, "Segments", says how to open a named segment
# in Python.
dir=$(mktemp -d)
. "$(dirname "$0")/lib"
version=3.11.2-6+deb12u8
debs python3.11-minimal=$version libpython3.11-minimal=$version libpython3.11-stdlib=$version
python=$dir/root/usr/bin/python3.11
export PYTHONHOME="$dir/root/usr" PYTHONDONTWRITEBYTECODE=1
name=finding-$$
segment=/dev/shm/$name
printf 'the state of the owner' >"$segment" # the owner's; any program can be one
trap 'rm -f "$segment"; cleanup' EXIT
echo "$("$python" --version); made by the owner: $(ls "$segment")"
cat >"$dir/open.py" <<'PY'
import sys
from multiprocessing import shared_memory
s = shared_memory.SharedMemory(sys.argv[1])
print("read by another process:", bytes(s.buf[:22]).decode())
s.close()
PY
"$python" "$dir/open.py" "$name" 2>"$dir/log"
# The tracker is a process of its own, which may end a little later.
for _ in $(seq 100); do
	test -e "$segment" || break
	sleep 0.1
done
sed -n 's/.*\(UserWarning: resource_tracker.*\)/\1/p' "$dir/log"
test ! -e "$segment" || changed "$segment is still there after 10 s"
echo "after its end: $segment is gone"
holds "the end of a process that opened the segment unlinked it"
