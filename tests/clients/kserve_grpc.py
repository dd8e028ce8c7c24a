"""kserve's gRPC client. usage: kserve_grpc.py HOST:PORT"""

import asyncio
import sys

import numpy as np
from common import IDENTITIES, done, same
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
    # This client knows no BF16, and FP16 only as bytes.
    for binary in (True, False):
        for model, datatype, values in IDENTITIES:
            made = InferInput("x", list(values.shape), datatype)
            made.set_data_from_numpy(values, binary_data=binary or datatype == "FP16")
            answer = await client.infer(InferRequest(model_name=model, infer_inputs=[made]))
            same((datatype, binary), answer.outputs[0].as_numpy(), values)
    await client.close()


asyncio.run(main())
done()
