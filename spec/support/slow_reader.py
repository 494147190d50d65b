"""Asks for an event stream and reads nothing until GO_FILE is there; then reads to the end and
prints how many events of a name came: slow_reader.py SOCKET PATH TOKEN GO_FILE NAME"""
import os
import socket
import sys
import time

path, url, token, go, name = sys.argv[1:]
peer = socket.socket(socket.AF_UNIX)
peer.connect(path)
peer.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
print("connected", flush=True)
while not os.path.exists(go):
    time.sleep(0.02)
data = b""
try:
    while piece := peer.recv(65536):
        data += piece
except ConnectionError:
    pass
print("events", data.count(b"event: " + name.encode()), flush=True)
