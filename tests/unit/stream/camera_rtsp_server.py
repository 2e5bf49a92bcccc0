"""A small RTSP server (RFC 2326, RTP interleaved in TCP) that plays a clip over and over, at its own pace.

Usage: camera_rtsp_server.py PORT CLIP. FFmpeg packs the clip's own H.264 into RTP; every client begins at the clip's start.
"""

from __future__ import annotations

import base64
import socket
import socketserver
import sys
import threading
import time
from typing import Any

import av

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
SDP += "a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track0\r\n"


class Client(socketserver.StreamRequestHandler):
    """One connection: requests in, replies and then RTP out."""

    def handle(self) -> None:
        while request := self._request():
            method, address, sequence = request
            try:
                self._reply(method, address, sequence)
            except OSError:  # the client is gone
                return
            if method == "PLAY":
                threading.Thread(target=self._play, daemon=True).start()
            if method == "TEARDOWN":
                return

    def _request(self) -> tuple[str, str, str] | None:
        lines = []
        try:
            while line := self.rfile.readline():
                if line.startswith(b"$"):  # RTCP from the client
                    rest = line[1:] + self.rfile.read(max(0, 4 - len(line)))
                    length = int.from_bytes(rest[1:3], "big")
                    self.rfile.read(max(0, length - (len(rest) - 3)))
                    continue
                text = line.decode("latin-1").strip()
                if not text and lines:
                    break
                lines += [text] if text else []
        except OSError:
            return None
        if not lines:
            return None
        method, address, _ = lines[0].split()
        fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        return method, address, fields.get("CSeq", "0")

    def _reply(self, method: str, address: str, sequence: str) -> None:
        head, body = [f"CSeq: {sequence}", "Session: 1"], ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = SDP.format(sets=parameter_sets(self.server.clip))
            head += [f"Content-Base: {address}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        self.wfile.write(("\r\n".join(["RTSP/1.0 200 OK", *head, "", ""]) + body).encode())

    def _play(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
            packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            packets.bind(("127.0.0.1", 0))
            packets.settimeout(5)
            threading.Thread(target=feed, args=(packets.getsockname()[1], self.server.clip), daemon=True).start()
            try:
                while True:
                    packet = packets.recv(65_535)
                    self.wfile.write(b"$\0" + len(packet).to_bytes(2, "big") + packet)
            except OSError:  # the client is gone, or the feeder
                return


def parameter_sets(clip: str) -> str:
    """The sequence and picture parameter sets of an MP4 file, as SDP has them (ISO/IEC 14496-15, 5.2.4.1; RFC 6184, 8.1)."""
    with av.open(clip) as given:
        extradata = bytes(given.streams.video[0].codec_context.extradata)
    found, at = [], 5
    for mask in (0x1F, 0xFF):
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            length = int.from_bytes(extradata[at : at + 2], "big")
            found.append(base64.b64encode(extradata[at + 2 : at + 2 + length]).decode())
            at += 2 + length
    return ",".join(found)


def feed(port: int, clip: str) -> None:
    """The clip as RTP to a port of this machine, for as long as anybody listens."""
    begun, shift = time.monotonic(), 0
    with av.open(f"rtp://127.0.0.1:{port}?pkt_size=1400", "w", format="rtp") as output:
        stream: Any = None
        while True:
            with av.open(clip) as given:
                video = given.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(video)
                first, last = None, 0
                for packet in given.demux(video):
                    if packet.dts is None:
                        continue
                    first = packet.dts if first is None else first
                    last = packet.dts - first
                    wait = float((last + shift) * packet.time_base) - (time.monotonic() - begun)
                    time.sleep(max(0.0, wait))
                    packet.dts, packet.pts = packet.dts - first + shift, packet.pts - first + shift
                    packet.stream = stream
                    output.mux(packet)
                shift += last + 1


class Server(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, port: int, clip: str) -> None:
        super().__init__(("127.0.0.1", port), Client)
        self.clip = clip


if __name__ == "__main__":
    with Server(int(sys.argv[1]), sys.argv[2]) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        server.serve_forever()
