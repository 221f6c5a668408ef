"""The reporting replica's link: a TCP relay with the bandwidth of a replica in another region.

What the primary sends passes a token bucket (``rate`` bytes a second, ``burst`` bytes at once after a quiet time, as
rate limiters have); what the replica answers passes freely. Run as a script, with Python's own library alone.
"""

import argparse
import asyncio
import contextlib
import socket
import time

_CHUNK = 32 * 1024
# Small buffers, so that what waits for the link waits at the sender, where the lag is measured.
_BUFFER = 128 * 1024


class Bucket:
    """A token bucket: bytes that may pass now. ``clock`` gives seconds."""

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._then_s = now_s

    def take(self, size: int, now_s: float) -> float:
        """Take ``size`` bytes and return for how many seconds to wait before they may pass."""
        self._left = min(self._burst, self._left + (now_s - self._then_s) * self._rate) - size
        self._then_s = now_s
        return max(0.0, -self._left / self._rate)


async def relay(listen: int, to: int, rate: float, burst: float) -> None:
    """Relay connections from port ``listen`` to port ``to``, both on loopback, until cancelled."""
    bucket = Bucket(rate, burst, time.monotonic())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = socket.socket()
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        upstream.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", to))
            up_reader, up_writer = await asyncio.open_connection(sock=upstream, limit=_BUFFER)
        except OSError:
            upstream.close()
            writer.close()
            return
        await asyncio.gather(_pass(reader, up_writer, None), _pass(up_reader, writer, bucket))
        up_writer.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", listen, limit=_BUFFER)
    async with server:
        await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket | None) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            wait_s = bucket.take(len(chunk), time.monotonic()) if bucket else 0.0
            if wait_s:
                await asyncio.sleep(wait_s)
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=int, required=True, help="port to listen on")
    parser.add_argument("--to", type=int, required=True, help="the primary's port")
    parser.add_argument("--rate", type=float, required=True, help="bytes a second")
    parser.add_argument("--burst", type=float, required=True, help="bytes at once")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay(arguments.listen, arguments.to, arguments.rate, arguments.burst))


if __name__ == "__main__":
    _main()
