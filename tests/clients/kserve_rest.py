"""kserve's REST client, JSON and binary. usage: kserve_rest.py HOST:PORT"""

import asyncio
import sys

import numpy as np
from common import VALUES, done, refused, same
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

HOST = f"http://{sys.argv[1]}"


async def fails(call, *says):
    try:
        await call
    except Exception as error:  # noqa: BLE001
        refused(lambda: (_ for _ in ()).throw(error), *says)
        return
    raise AssertionError(f"was not refused: expected {says}")


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(HOST) and await client.is_server_ready(HOST) and await client.is_model_ready(HOST, "add_one")

    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    for binary in (True, False):
        made = InferInput("x", list(x.shape), "FP32")
        made.set_data_from_numpy(x, binary_data=binary)
        for wanted in ([], [RequestedOutput("y", parameters={"binary_data": binary})]):
            request = InferRequest(model_name="add_one", infer_inputs=[made], request_outputs=wanted)
            answer = await client.infer(HOST, request, model_name="add_one")
            same("y", answer.outputs[0].as_numpy(), x + 1)
            assert answer.model_name == "add_one" and answer.id

    inputs = []
    for name, values in VALUES.items():
        made = InferInput(f"in_{'string' if name == 'BYTES' else name.lower()}", list(values.shape), name)
        made.set_data_from_numpy(values, binary_data=True)
        inputs.append(made)
    bf16 = InferInput("in_bf16", [2], "FP32")
    bf16.set_data_from_numpy(np.zeros(2, np.float32), binary_data=True)
    # This client knows no BF16; the model takes it all the same, and says what came.
    await fails(client.infer(HOST, InferRequest(model_name="all_types", infer_inputs=[*inputs, bf16]), model_name="all_types"), "in_bf16")

    # Large enough to be compressed, since this client always says that it can read that.
    wide = np.zeros((512, 4), np.float32)
    made = InferInput("x", list(wide.shape), "FP32")
    made.set_data_from_numpy(wide, binary_data=False)
    answer = await client.infer(HOST, InferRequest(model_name="add_one", infer_inputs=[made]), model_name="add_one")
    same("compressed", answer.outputs[0].as_numpy(), wide + 1)

    # Numbers that JSON does not have are null here and there.
    odd = np.array([[np.nan, 1, 2, 3]], np.float32)
    made = InferInput("x", list(odd.shape), "FP32")
    made.set_data_from_numpy(odd, binary_data=False)
    answer = await client.infer(HOST, InferRequest(model_name="add_one", infer_inputs=[made]), model_name="add_one")
    assert np.isnan(answer.outputs[0].as_numpy().astype(np.float32)[0, 0])

    made = InferInput("x", [1, 3], "FP32")
    made.set_data_from_numpy(np.zeros((1, 3), np.float32), binary_data=False)
    await fails(client.infer(HOST, InferRequest(model_name="add_one", infer_inputs=[made]), model_name="add_one"), "got [1, 3]")
    await fails(client.infer(HOST, InferRequest(model_name="none", infer_inputs=[made]), model_name="none"), "there is no model `none`")


asyncio.run(main())
done()
