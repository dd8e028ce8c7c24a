"""tritonclient's asyncio client over gRPC. usage: triton_grpc_aio.py HOST:PORT"""

import asyncio
import sys

import numpy as np
import tritonclient.grpc.aio as triton
from common import IDENTITIES, done, same
from tritonclient.grpc import InferInput


def typed(datatype, values):
    x = InferInput("x", list(values.shape), datatype)
    x.set_data_from_numpy(values)
    return [x]


def made(n):
    x = InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.full((1, 4), n, np.float32))
    return [x]


async def main():
    client = triton.InferenceServerClient(sys.argv[1])
    assert await client.is_server_ready() and await client.is_model_ready("batched")

    async def one(n):
        answer = await client.infer("batched", made(n))
        same(n, answer.as_numpy("y"), np.full((1, 4), n + 1, np.float32))

    await asyncio.gather(*(one(n) for n in range(32)))

    async def requests():
        for n in range(10):
            yield {"model_name": "batched", "inputs": made(n), "request_id": str(n)}

    seen = 0
    async for result, error in client.stream_infer(requests()):
        assert error is None
        same(seen, result.as_numpy("y"), np.full((1, 4), seen + 1, np.float32))
        seen += 1
    assert seen == 10

    for model, datatype, values in IDENTITIES:
        same(datatype, (await client.infer(model, typed(datatype, values))).as_numpy("y"), values)

    async def every_datatype():
        for model, datatype, values in IDENTITIES:
            yield {"model_name": model, "inputs": typed(datatype, values)}

    expected = iter(IDENTITIES)
    async for result, error in client.stream_infer(every_datatype()):
        assert error is None, error
        _, datatype, values = next(expected)
        same(datatype, result.as_numpy("y"), values)
    assert next(expected, None) is None
    await client.close()


asyncio.run(main())
done()
