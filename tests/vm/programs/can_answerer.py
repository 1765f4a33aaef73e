"""can_answerer.py IFACE - repeats each frame's bytes on the bus, under the number that is one higher"""

import socket
import struct
import sys

with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as bus:
    bus.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FD_FRAMES, 1)
    bus.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, struct.pack("=II", 0x100, 0x7FF))
    bus.bind((sys.argv[1],))
    print("ready", flush=True)
    while True:
        frame = bus.recv(72)
        bus.send(struct.pack("=I", struct.unpack_from("=I", frame)[0] + 1) + frame[4:])
