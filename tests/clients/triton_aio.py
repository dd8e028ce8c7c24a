"""tritonclient's asyncio client over HTTP. usage: triton_aio.py HOST:PORT"""

import asyncio
import sys

import numpy as np
import tritonclient.http.aio as triton
from common import IDENTITIES, done, same
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
    for binary in (True, False):
        for model, datatype, values in IDENTITIES:
            # FP16 has no JSON with this client.
            x = InferInput("x", list(values.shape), datatype)
            x.set_data_from_numpy(values, binary_data=binary or datatype == "FP16")
            answer = await client.infer(model, [x], outputs=[InferRequestedOutput("y", binary_data=binary)])
            same((datatype, binary), answer.as_numpy("y"), values)
    # Large enough to be compressed, which aiohttp asks for by itself.
    wide = np.zeros((512, 4), np.float32)
    x = InferInput("x", list(wide.shape), "FP32")
    x.set_data_from_numpy(wide)
    same("compressed", (await client.infer("add_one", [x])).as_numpy("y"), wide + 1)
    await client.close()


asyncio.run(main())
done()
