"""sniff.py IFACE ADDRESS: prints the source MAC address of the next TCP frame from ADDRESS"""
import socket
import sys

ETH_P_IP = 0x0800
TCP_AT = 14 + 9

raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
raw.bind((sys.argv[1], ETH_P_IP))
print("ready")
while True:
    frame, (_, _, kind, _, _) = raw.recvfrom(2048)
    ours = frame[26:30] == socket.inet_aton(sys.argv[2]) and frame[TCP_AT] == socket.IPPROTO_TCP
    if ours and kind != socket.PACKET_OUTGOING:
        print(frame[6:12].hex(":"))
        break
