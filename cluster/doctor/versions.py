"""Checks what is installed: the same packages on each host, and Horovod built for the hosts and cards that train."""

from collections.abc import Iterator

from cluster.doctor.builds import Capability, build_of, capability, serves
from cluster.doctor.facts import ClusterFacts, Finding, NodeFacts, Requirements

NAMES = {
    "python": "Python",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "horovod": "Horovod",
    "ray": "Ray",
    "numpy": "NumPy",
    "regionstack": "regionstack",
}
SET_UP = "run make env there with the same requirements.lock"


def training_hosts(facts: ClusterFacts, required: Requirements) -> list[NodeFacts]:
    """The hosts that have slots: where GPUs are used, those with GPUs; otherwise all but those without cores in Ray."""
    if required.gpus and any(node.ray_gpus for node in facts.nodes):
        return [node for node in facts.nodes if node.ray_gpus]
    return [node for node in facts.nodes if node.slots != 0]


def check_versions(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Every host has the packages and project files of the driver's; hosts with slots have equal builds of Horovod."""
    first = facts.nodes[0]
    for name, version in required.locked.items():
        found = first.versions.get(name)
        if found is not None and _public(found) != version:
            what = f"{NAMES[name]} {found}, but the project is tested with {version}"
            yield Finding("warning", "versions", first.host, what, "run make env")
    training = training_hosts(facts, required)
    for node in facts.nodes:
        yield from _against(node, first, trains=node in training)
    yield from _builds(training)


def _against(node: NodeFacts, first: NodeFacts, *, trains: bool) -> Iterator[Finding]:
    for name in NAMES:
        ours, theirs = first.versions.get(name), node.versions.get(name)
        if theirs is None:
            yield from _missing(node, name, trains=trains)
        elif ours is not None and _public(theirs) != _public(ours):
            patch_only = name == "python" and theirs.split(".")[:2] == ours.split(".")[:2]
            what = f"{NAMES[name]} {theirs}, but {first.host} has {ours}"
            yield Finding("warning" if patch_only else "error", "versions", node.host, what, SET_UP)
    if node.source != first.source and node.versions.get("regionstack"):
        what = f"the project files ({node.source}) differ from those on {first.host} ({first.source})"
        advice = "copy them there with file_mounts in the cluster file, or rsync"
        yield Finding("error", "versions", node.host, what, advice)


def _missing(node: NodeFacts, name: str, *, trains: bool) -> Iterator[Finding]:
    if trains or name != "horovod":
        yield Finding("error", "versions", node.host, f"{NAMES[name]} is not installed", SET_UP)
    elif node.own:
        what = "Horovod is not installed; no rank runs here, but a driver that starts ranks needs it, in any build"
        yield Finding("note", "versions", node.host, what, "run make env")


def _builds(training: list[NodeFacts]) -> Iterator[Finding]:
    """Horovod is built for each host's TensorFlow, and in the same way on all hosts that have slots."""
    reference: NodeFacts | None = None
    for node in training:
        version, tensorflow = node.versions.get("horovod"), node.versions.get("tensorflow")
        if version is None:
            continue
        reference = reference or node
        build, ours = build_of(version), build_of(reference.versions["horovod"])
        if build and tensorflow and build.tensorflow != tensorflow:
            what = f"Horovod is built for TensorFlow {build.tensorflow}, but TensorFlow {tensorflow} is installed"
            yield Finding("error", "versions", node.host, what, SET_UP)
        elif (build is None) != (ours is None) or (build and ours and not build.equals(ours)):
            how, their = (one.text() if one else "another origin" for one in (build, ours))
            what = f"Horovod is built for {how}, but on {reference.host} for {their}"
            yield Finding("error", "versions", node.host, what, SET_UP)


def _public(version: str) -> str:
    return version.partition("+")[0]


def check_horovod(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Horovod loads, and is built for the host's hardware, wherever ranks run."""
    for node in training_hosts(facts, required):
        if node.load_error:
            yield Finding("error", "horovod", node.host, f"Horovod cannot be loaded ({node.load_error})", SET_UP)
        elif node.built is not None and "gloo" not in node.built:
            yield Finding("error", "horovod", node.host, "Horovod is built without Gloo", SET_UP)
        elif required.gpus and node.ray_gpus and node.built is not None and "nccl" not in node.built:
            count = f"{node.ray_gpus} GPU{'' if node.ray_gpus == 1 else 's'}"
            what = f"{count} but Horovod is built without NCCL, and would average on the CPU"
            yield Finding("error", "horovod", node.host, what, "run GPU=1 make env there, or set cluster.gpus: 0")


def check_capabilities(facts: ClusterFacts, required: Requirements) -> Iterator[Finding]:
    """Horovod and TensorFlow have code for the cards of each host that trains on GPUs."""
    for node in training_hosts(facts, required) if required.gpus else ():
        for text in node.capabilities if node.ray_gpus else ():
            if card := capability(text):
                yield from _card(node, text, card)


def _card(node: NodeFacts, text: str, card: Capability) -> Iterator[Finding]:
    if node.tensorflow_capabilities and not serves(node.tensorflow_capabilities, card):
        what = (
            f"a GPU of compute capability {text}, but TensorFlow {node.versions.get('tensorflow')} is built for "
            f"{', '.join(node.tensorflow_capabilities)}"
        )
        yield Finding("error", "gpus", node.host, what, "use a newer GPU, or set cluster.gpus: 0")
        return  # No build of Horovod would help.
    build = build_of(node.versions.get("horovod", ""))
    numbers = build.capabilities if build else ()
    # Horovod's build adds PTX for the greatest one of its list.
    if numbers and not serves(numbers, card, ptx=[max(numbers, key=_order)]):
        what = f"a GPU of compute capability {text}, but Horovod is built for {', '.join(numbers)}"
        wanted = ",".join(sorted({text.replace(".", ""), *numbers}, key=_order))
        advice = f"run HOROVOD_BUILD_CUDA_CC_LIST={wanted} GPU=1 make env there"
        yield Finding("error", "gpus", node.host, what, advice)


def _order(number: str) -> Capability:
    return capability(number) or (0, 0)
