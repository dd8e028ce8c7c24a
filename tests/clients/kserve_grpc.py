"""kserve's gRPC client. usage: kserve_grpc.py HOST:PORT"""

import asyncio
import sys

import numpy as np
from common import VALUES, done, same
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main():
    client = InferenceGRPCClient(url=sys.argv[1], retries=0)
    assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("add_one")
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    for binary in (True, False):
        made = InferInput("x", list(x.shape), "FP32")
        made.set_data_from_numpy(x, binary_data=binary)
        answer = await client.infer(InferRequest(model_name="add_one", infer_inputs=[made]))
        same("y", answer.outputs[0].as_numpy(), x + 1)
    # Strings, and whole numbers beyond what floating point holds.
    words = InferInput("x", [2], "BYTES")
    words.set_data_from_numpy(VALUES["BYTES"], binary_data=False)
    answer = await client.infer(InferRequest(model_name="string_identity", infer_inputs=[words]))
    same("BYTES", answer.outputs[0].as_numpy(), VALUES["BYTES"])
    await client.close()


asyncio.run(main())
done()
