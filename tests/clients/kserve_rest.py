"""kserve's REST client, JSON and binary. usage: kserve_rest.py HOST:PORT"""

import asyncio
import sys

import numpy as np
from common import IDENTITIES, done, refused, same
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

    # This client knows no BF16, and FP16 only as bytes; empty tensors and scalars only as bytes, too.
    odd_shapes = [("add_one", "FP32", np.zeros((0, 4), np.float32), 1)]
    for binary in (True, False):
        for model, datatype, values, more in [*((*identity, None) for identity in IDENTITIES), *(odd_shapes if binary else [])]:
            made = InferInput("x", list(values.shape), datatype)
            made.set_data_from_numpy(values, binary_data=binary or datatype == "FP16")
            wanted = [RequestedOutput("y", parameters={"binary_data": binary or datatype == "FP16"})]
            answer = await client.infer(HOST, InferRequest(model_name=model, infer_inputs=[made], request_outputs=wanted), model_name=model)
            same((datatype, binary), answer.outputs[0].as_numpy(), values if more is None else values + more)

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
