"""How the golden numbers of MAXIM were made: the published TensorFlow.js graph, run by TensorFlow 2.21 on a processor.

`python maxim_in_tensorflow.py PACKAGE.tgz IMAGE.npy OUT.npy [CONSTANTS.npz]` needs tensorflow-cpu, which nothing else
here does, and minutes to read the graph's 27,809 nodes. IMAGE is float32 [H,W,3]; CONSTANTS, if given, replaces some of
the graph's constants by name, which is how the numbers for made-up weights came about (`constants_of`).
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np


def constants_of(package: Path, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The graph's constants for a state dict of our network: layouts turned back, by the names in the graph."""
    from bench.methods import tfjs

    with tarfile.open(package) as archive:
        model = json.loads(tfjs._member(archive, "model.json"))
    marked = {}
    shapes = {one["name"]: one["shape"] for one in model["weightsManifest"][0]["weights"] if one["dtype"] == "float32"}
    for number, (name, shape) in enumerate(shapes.items()):
        marked[name] = np.full(shape, number, np.float32)
    names = list(shapes)
    ones = {one["name"]: np.ones(one["shape"], one["dtype"]) for one in model["weightsManifest"][0]["weights"]}
    found = {}
    for key, tensor in tfjs._layers(model["modelTopology"]["node"], {**ones, **marked}).items():
        source = names[int(tensor.flatten()[0])]
        value, shape = state[key], shapes[source]
        turned = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T if value.ndim == 2 else value
        found[source] = np.ascontiguousarray(turned.reshape(shape))
    return found


def run(package: Path, image: np.ndarray, replaced: dict[str, np.ndarray]) -> np.ndarray:
    import tensorflow as tf  # type: ignore[import-not-found]
    from google.protobuf import json_format

    with tarfile.open(package) as archive:
        members: dict[str, Any] = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}

        def read(name: str) -> bytes:
            file = archive.extractfile(members[name])
            assert file is not None
            return file.read()

        model = json.loads(read("model.json"))
        group = model["weightsManifest"][0]
        data = b"".join(read(name) for name in group["paths"])
    values, start = {}, 0
    for one in group["weights"]:
        count = int(np.prod(one["shape"]))
        values[one["name"]] = np.frombuffer(data, one["dtype"], count, start).reshape(one["shape"])
        start += 4 * count
    definition = tf.compat.v1.GraphDef()
    for node in model["modelTopology"]["node"]:
        made = definition.node.add(name=node["name"], op=node["op"], input=node.get("input", []))
        if node["op"] == "Const":
            value = replaced.get(node["name"], values[node["name"]])
            made.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
            made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
            continue
        for key, attribute in node.get("attr", {}).items():
            json_format.ParseDict(attribute, made.attr[key])
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            output: np.ndarray = session.run("Identity:0", {"xs_0:0": image[None]})
    return output[0]


if __name__ == "__main__":
    constants = dict(np.load(sys.argv[4])) if len(sys.argv) > 4 else {}
    np.save(sys.argv[3], run(Path(sys.argv[1]), np.load(sys.argv[2]), constants))
