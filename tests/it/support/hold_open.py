"""Holds whoever opens a file, as a file server that does not answer does, until this ends: hold_open.py FILE. The kernel lets it for 45 s."""
import fcntl
import signal
import sys
import time

signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
time.sleep(600)
