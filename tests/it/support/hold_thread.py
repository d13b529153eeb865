"""Stops the first thread of a process, and no other, until this ends: hold_thread.py PID. Needs the right to trace it."""
import ctypes
import os
import sys
import time

SEIZE, INTERRUPT = 0x4206, 0x4207
pid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
for request in (SEIZE, INTERRUPT):
    if libc.ptrace(request, pid, None, None) != 0:
        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))
print("held", flush=True)
time.sleep(600)
