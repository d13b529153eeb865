"""Executes a command with one system call forbidden: seccomp.py NUMBER ERRNO FIRST_ARGUMENT|- COMMAND..."""
import ctypes
import os
import sys

number, errno, first = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
LOAD, EQUAL, RETURN, ALLOW, REFUSE = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000


class Line(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("lines", ctypes.POINTER(Line))]


lines = [(LOAD, 0, 0, 0)]
if first == "-":
    lines += [(EQUAL, 0, 1, number)]
else:
    # The first argument stands at offset 16; its lower half comes first on machines that we run on.
    lines += [(EQUAL, 0, 3, number), (LOAD, 0, 0, 16), (EQUAL, 0, 1, int(first))]
lines += [(RETURN, 0, 0, REFUSE | errno), (RETURN, 0, 0, ALLOW)]
array = (Line * len(lines))(*lines)
program = Program(len(lines), array)
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:
    sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[4], sys.argv[4:])
