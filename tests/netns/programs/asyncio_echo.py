"""asyncio_echo.py - an asyncio server on one socket of both families, and its clients

    asyncio_echo.py serve PORT
    asyncio_echo.py call PORT ADDRESS...      several connections to each address at once; prints ok
"""

import asyncio
import socket
import sys

CONNECTIONS = 5
MESSAGE = bytes(range(256)) * 200


async def answer(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def serve(port):
    both = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    async with await asyncio.start_server(answer, sock=both) as server:
        await server.serve_forever()


async def call(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(MESSAGE)
    writer.write_eof()
    echoed = await reader.read()
    writer.close()
    await writer.wait_closed()
    return echoed == MESSAGE


async def call_all(port, addresses):
    return await asyncio.gather(*(call(address, port) for address in addresses for _ in range(CONNECTIONS)))


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2])))
else:
    print("ok" if all(asyncio.run(call_all(int(sys.argv[2]), sys.argv[3:]))) else "wrong")
