"""Asks the driver of NVIDIA GPUs, without any package.

    python3 cuda.py count          how many devices this process can use
    python3 cuda.py hold MIB FILE  takes so much GPU memory, says so in FILE, ignores SIGTERM and sleeps
"""

import ctypes
import signal
import sys
import time

NO_DEVICE = 100


def call(name, *args):
    status = getattr(cuda, name)(*args)
    if status:
        sys.exit(f"{name} failed: error {status} of the CUDA driver")


cuda = ctypes.CDLL("libcuda.so.1")
begun = cuda.cuInit(0)
if begun == NO_DEVICE:
    print(0)
    sys.exit()
if begun:
    sys.exit(f"cuInit failed: error {begun} of the CUDA driver")
if sys.argv[1] == "count":
    number = ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(number))
    print(number.value)
else:
    mib, said = int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(mib << 20))
    with open(said, "w") as file:
        print(mib, file=file)
    time.sleep(3600)
