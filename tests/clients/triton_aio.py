"""tritonclient's asyncio client over HTTP. usage: triton_aio.py HOST:PORT"""

import asyncio
import sys

import numpy as np
import tritonclient.http.aio as triton
from common import done, same
from tritonclient.http import InferInput, InferRequestedOutput


async def main():
    client = triton.InferenceServerClient(sys.argv[1])
    assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("batched")
    assert (await client.get_model_metadata("batched"))["inputs"][0]["shape"] == [-1, 4]

    async def one(n):
        values = np.full((1, 4), n, np.float32)
        x = InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(values, binary_data=n % 2 == 0)
        answer = await client.infer("batched", [x], outputs=[InferRequestedOutput("y", binary_data=n % 3 == 0)])
        same(n, answer.as_numpy("y"), values + 1)

    await asyncio.gather(*(one(n) for n in range(32)))
    await client.close()


asyncio.run(main())
done()
