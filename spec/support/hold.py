"""Runs a Python script with an input that stays open: `hold.py SCRIPT ARGS…`. For servers that end
when their input does, started by something that gives them none."""
import os
import signal
import subprocess
import sys

read, write = os.pipe()
child = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=read)
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
sys.exit(child.wait())
