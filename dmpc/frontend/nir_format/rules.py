"""What the nodes and wires of a NIR graph must keep to."""

from dmpc.rules import Stage, rule

NODE_KIND = rule(
    "node-kind",
    Stage.IMPORT,
    "{what}",
    why="""The machine has linear maps, scales, axonal delays and neurons with one membrane that
    leaks, fires and is reset. Other kinds of NIR nodes have no place on it.""",
    nearest="{nearest}",
)
PORT_COUNT = rule(
    "port-count",
    Stage.IMPORT,
    "the graph has {count} {kind} nodes{names}; one is expected",
    why="A network takes one sequence and gives one vector of logits.",
    nearest="one Input and one Output node; join several inputs before the network",
)
UNFED_NODE = rule(
    "unfed-node",
    Stage.IMPORT,
    "nothing feeds this node",
    why="A node computes with the sum of what its edges bring. Without an edge it has no value.",
    nearest="an edge to the node, or leave the node out",
)
NODE_SIZE = rule(
    "node-size",
    Stage.IMPORT,
    "takes {size} elements, but is fed {fed}",
    why="A node's parameters, its declared shape and what its sources bring must agree in size.",
    nearest="weights of the sizes of both ends of the edge",
)
TIMELESS_LOOP = rule(
    "timeless-loop",
    Stage.IMPORT,
    "the loop {ring} has neither neurons nor a delay",
    why="Values that depend on each other within one timestep have no order to compute them in.",
    nearest="put a Delay into it",
)
