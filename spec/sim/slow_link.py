"""A slow line: slow_link.py PORT TARGET_PORT BYTES_PER_S [STALL_AFTER]

Takes TCP connections on 127.0.0.1:PORT and passes them on to TARGET_PORT, towards it with at most
BYTES_PER_S; the first connection that has carried STALL_AFTER bytes carries no more, for ever.
"""
import socket
import sys
import threading
import time

port, target, rate = (int(word) for word in sys.argv[1:4])
stall_after = int(sys.argv[4]) if len(sys.argv) > 4 else None
lock = threading.Lock()


def may_stall():
    global stall_after
    with lock:
        limit, stall_after = stall_after, None
    return limit


def pump(source, sink, bytes_per_s):
    carried, limit = 0, None
    try:
        while data := source.recv(4096):
            if bytes_per_s:
                time.sleep(len(data) / bytes_per_s)
                carried += len(data)
                if stall_after and carried > stall_after:
                    limit = may_stall()
                if limit:
                    threading.Event().wait()
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


listener = socket.create_server(("127.0.0.1", port))
while True:
    near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=pump, args=(near, far, rate), daemon=True).start()
    threading.Thread(target=pump, args=(far, near, 0), daemon=True).start()
