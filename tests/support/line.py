"""A bad line between two networks: line.py NEAR FAR DELAY LOSS

Makes a TUN device of each name, here, and says "laid". What goes into one comes out of the other after DELAY seconds, but
for the share LOSS of the packets. Orders come on standard input, one a line: "cut" loses everything, "mend" no longer,
"count" has it say how many packets passed and how many were lost. It ends with its input.

Of what one end of a connection sends, no more than two packets are lost in a row: with every loss TCP waits twice as long
before it tries again, and after eight of them for more than a minute.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LONGEST = 65536
IN_A_ROW = 2


def device(name):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def sender(packet):
    """The addresses and the ports, from the one that sent it to the other."""
    header = (packet[0] & 15) * 4
    return packet[12:20] + packet[header : header + 4]


def say(*words):
    print(*words, flush=True)


def main():
    ends = [device(name) for name in sys.argv[1:3]]
    delay, loss = map(float, sys.argv[3:5])
    # The same packets are lost every time, as far as the same packets are sent.
    chance = random.Random(20)
    in_a_row = {}
    under_way = []
    passed = lost = 0
    cut = False
    say("laid")
    while True:
        wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
        ready, _, _ = select.select([*ends, sys.stdin], [], [], wait)
        if sys.stdin in ready:
            order = sys.stdin.readline().strip()
            if not order:
                return
            if order == "count":
                say(passed, lost)
            else:
                cut = order == "cut"
                say(order)
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(under_way)
            try:
                os.write(end, packet)
            except OSError:
                pass  # The device at the other end is not up any more.
        for end, other in zip(ends, reversed(ends)):
            if end not in ready:
                continue
            packet = os.read(end, LONGEST)
            before = in_a_row.get(sender(packet), 0)
            if cut or (chance.random() < loss and before < IN_A_ROW):
                in_a_row[sender(packet)] = before + 1
                lost += 1
                continue
            in_a_row[sender(packet)] = 0
            passed += 1
            heapq.heappush(under_way, (now + delay, passed, other, packet))


main()
