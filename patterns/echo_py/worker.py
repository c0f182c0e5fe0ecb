"""A worker of contract "sdk" in Python 3.9 or newer, with the standard library alone.

It answers every HTTP request on its endpoint with a JSON object: the payload
(the body of a POST, or what follows the / of a GET), and who answered. The
control protocol that it speaks is described in docs/PROTOCOL.md.
"""

import array
import http.server
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time

MAX_MESSAGE = 64 << 10
MAX_FDS = 64
KINDS = ("activate", "probe", "drain", "retire")
DEFAULT_GRACE = 5.0  # seconds, where nobody says
HANDOVER_TIME = 1.0  # seconds that a worker told to stop waits for its successor


class Control:
    """The control socket: one datagram is one JSON object."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.set_inheritable(False)

    def send(self, kind, **fields):
        try:
            self.sock.send(json.dumps({kind: fields}).encode())
        except (BrokenPipeError, ConnectionResetError):
            pass  # the supervisor is gone; receive says so too

    def receive(self):
        """Returns (kind, fields, fds), or None at the end of the connection."""
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(
                MAX_MESSAGE, socket.CMSG_SPACE(4 * MAX_FDS), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # told once, before what is left to read
            return self.receive()
        fds = array.array("i")
        for level, type_, body in ancillary:
            if level == socket.SOL_SOCKET and type_ == socket.SCM_RIGHTS:
                fds.frombytes(body[:len(body) - len(body) % fds.itemsize])
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("the supervisor sent more than a message may hold")
            if not data:
                return None
            message = json.loads(data)
            if not isinstance(message, dict):
                raise ValueError("the supervisor sent something other than an object")
            kinds = [kind for kind in KINDS if kind in message]
            if len(kinds) > 1:
                raise ValueError(f"the supervisor sent two messages in one: {kinds}")
        except ValueError:
            for fd in fds:
                os.close(fd)
            raise
        if not kinds:
            return "unknown", message, list(fds)  # of a later version: ignored
        return kinds[0], message[kinds[0]] or {}, list(fds)


class Answer(http.server.BaseHTTPRequestHandler):
    """One connection. Its server attribute is the Worker."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one write

    def do_GET(self):
        self.answer(self.path.removeprefix("/"))

    def do_POST(self):
        size = int(self.headers.get("Content-Length") or 0)
        self.answer(self.rfile.read(size).decode(errors="replace"))

    def answer(self, payload):
        body = json.dumps({
            "payload": payload,
            "pid": os.getpid(),
            "process_id": self.server.process_id,
            "epoch": self.server.epoch,
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Worker:
    def __init__(self, control):
        self.control = control
        self.process_id = ""  # empty and 0 on standby
        self.epoch = 0
        self.listener = None
        self.stopping = None  # when it drains at the latest: SIGTERM came
        self.supervised = True
        self.lock = threading.Lock()
        self.connections = set()
        self.threads = set()

    def serve(self, conn):
        """Serves one connection, in its own thread."""
        try:
            Answer(conn, ("", 0), self)
        except OSError:
            pass  # the client is gone
        finally:
            with self.lock:
                self.connections.discard(conn)
                self.threads.discard(threading.current_thread())
            conn.close()

    def accept(self):
        try:
            conn, _ = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process that shares the socket has taken it
        thread = threading.Thread(target=self.serve, args=(conn,), daemon=True)
        with self.lock:
            self.connections.add(conn)
            self.threads.add(thread)
        thread.start()

    def activate(self, activation, fds):
        if self.process_id or not fds:
            for fd in fds:
                os.close(fd)
            raise ValueError("the supervisor sent an activation that cannot be")
        self.process_id = activation["process_id"]
        self.epoch = int(activation["epoch"])  # 64-bit numbers are JSON strings
        self.listener = socket.socket(fileno=fds[0])
        # Others share the socket and rely on its being non-blocking.
        self.listener.setblocking(False)
        for fd in fds[1:]:
            os.close(fd)

    def probe(self, probe):
        self.control.send("probe_result", id=probe.get("id", "0"), ok=True,
                          process_id=self.process_id, epoch=str(self.epoch))

    def drain(self, grace):
        """Accepts no more and lets what has begun finish; reads no message meanwhile."""
        self.selector.unregister(self.listener)
        self.listener.close()
        self.listener = None
        with self.lock:
            connections, threads = list(self.connections), list(self.threads)
        for conn in connections:
            try:
                conn.shutdown(socket.SHUT_RD)  # what has arrived is still read
            except OSError:
                pass
        deadline = time.monotonic() + grace
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.control.send("drained")

    def terminate(self):
        """SIGTERM. An active worker asks for a successor and goes on accepting,
        so that no client waits until this worker is gone. The second time it
        drains without one. Returns whether the worker goes on."""
        if not self.listener:
            return False
        if self.stopping or not self.supervised:
            self.drain(DEFAULT_GRACE)
            return False
        self.stopping = time.monotonic() + HANDOVER_TIME
        self.control.send("draining", reason="SIGTERM")
        return True

    def run(self):
        """Returns when the worker is not wanted any more."""
        self.selector = selector = selectors.DefaultSelector()
        selector.register(self.control.sock, selectors.EVENT_READ)
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno())
        selector.register(wake, selectors.EVENT_READ)

        # Here a real worker warms up.
        self.control.send("ready", protocol=1)
        while True:
            left = self.stopping and max(0.0, self.stopping - time.monotonic())
            if left == 0.0:  # no successor came
                self.drain(DEFAULT_GRACE)
                return
            for key, _ in selector.select(left):
                if key.fileobj is wake:
                    wake.recv(1)
                    if not self.terminate():
                        return
                    continue
                if key.fileobj is not self.control.sock:
                    if self.listener:  # not drained just now
                        self.accept()
                    continue
                try:
                    if not self.obey():
                        return
                except ValueError as error:
                    # A standby gives up, since it may have missed its
                    # activation. An active worker has clients.
                    if not self.process_id:
                        raise
                    print("message of the supervisor is ignored:", error, file=sys.stderr, flush=True)

    def obey(self):
        """Takes one message; returns whether the worker is still wanted."""
        message = self.control.receive()
        if message is None:  # the supervisor is gone: an active worker serves on
            self.selector.unregister(self.control.sock)
            self.supervised = False
            if self.stopping and self.listener:
                self.drain(DEFAULT_GRACE)
            return bool(self.listener)
        kind, fields, fds = message
        if kind == "activate":
            self.activate(fields, fds)
            self.selector.register(self.listener, selectors.EVENT_READ)
            self.control.send("active", process_id=self.process_id, epoch=str(self.epoch))
            return True
        for fd in fds:
            os.close(fd)
        if kind == "probe":
            self.probe(fields)
        elif kind == "retire":
            return False
        elif kind == "drain":
            if not self.process_id:
                return False
            if self.listener:
                self.drain(int(fields.get("grace_ms", 0)) / 1000 or DEFAULT_GRACE)
                return not self.stopping
        return True


def main():
    fd = os.environ.get("UNDERSTUDY_CONTROL_FD")
    if fd is None:
        sys.exit("echo_py: not started by understudyd (UNDERSTUDY_CONTROL_FD is not set): "
                 "run: understudy launch echo_py")
    control = Control(int(fd))
    try:
        Worker(control).run()
    except Exception as error:
        control.send("fatal", error=f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
