"""Serves a model over HTTP with asyncio alone: python serve.py MODEL.onnx [PORT].

POST / takes an .npz file with an array for each input and answers with one of the outputs:

    curl --data-binary @inputs.npz http://127.0.0.1:8000/ -o outputs.npz

Runs share one session on the threads of the event loop's pool; a run whose client has gone stops.
"""

import asyncio
import io
import sys

import numpy as np

import onrush

LARGEST_REQUEST = 64 << 20


class Server:
    def __init__(self, model):
        self.session = onrush.Session(model)

    async def handle(self, reader, writer):
        """One connection: requests one after the other."""
        try:
            while (body := await self.read_request(reader)) is not None:
                status, answer = await self.answer(body)
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(head.encode() + answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def read_request(self, reader):
        """The body; None at the end of the connection."""
        head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
        if not head:
            return None
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
        size = int(fields.get(b"content-length", 0))
        if size > LARGEST_REQUEST:
            raise ConnectionError(f"a request of {size} bytes")
        return await reader.readexactly(size)

    async def answer(self, body):
        try:
            inputs = np.load(io.BytesIO(body), allow_pickle=False)
            outputs = await self.session.run_async(dict(inputs))
        except (onrush.Error, ValueError, EOFError) as error:
            return "400 Bad Request", str(error).encode()
        file = io.BytesIO()
        np.savez(file, **outputs)
        return "200 OK", file.getvalue()


async def main(model, port=8000):
    server = await asyncio.start_server(Server(model).handle, "127.0.0.1", int(port))
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}/", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
