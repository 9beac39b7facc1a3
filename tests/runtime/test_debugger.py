"""A sample that is stopped and looked at shows what a run of it shows, wherever it is stopped."""

import re

import numpy as np
import pytest

from benchmarks.random_programs import LANES, each_timestep, parameters, program
from isa.engines import ENGINES
from isa.errors import IsaError
from isa.instructions import AccumulateEvents, ClearMembranes, InputEvents, Lif, MoveEvents
from isa.interface import INTERFACE, Input, Interface, Output, interface_bytes
from runtime import Program, RuntimeFailure
from runtime.debug_commands import COMMANDS, Console
from runtime.debug_values import look, names, queues
from runtime.debugger import Debugger, Expected, Meaning
from runtime.places import left
from tests.three_layers import inputs, three_layers

COMPILED = three_layers()
SAMPLE = inputs()
STEPS = len(SAMPLE)


def on(engine):
    return Program(COMPILED.image, "net.elf", engine)


@pytest.fixture(params=ENGINES)
def debugger(request):
    return Debugger(on(request.param), SAMPLE)


@pytest.fixture
def stepped():
    return Debugger(on("cycle"), SAMPLE)


def seen(item):
    return COMPILED.engine.run(SAMPLE[None], watched=[item.place]).seen[item.place][0]


def place(name):
    return next(item for item in left(COMPILED) if item.name == name and item.value)


def test_it_ends_as_a_run_does(debugger):
    stop = debugger.go()
    run = COMPILED.engine.run(SAMPLE[None])
    logits = COMPILED.integers(run.logits)[0]
    assert (stop.reason, debugger.ended) == ("end", True)
    assert f"cycle {run.cycles[0]}: class {logits.argmax()}, logit {logits.max()}" in stop.text
    with pytest.raises(RuntimeFailure, match="the sample has ended; restart begins it anew"):
        debugger.step()
    debugger.restart()
    assert debugger.position.pc == 0
    assert debugger.go() == stop


def test_every_instruction_is_where_the_loops_are(debugger):
    """The timestep that it tells is the one of the recording."""
    from runtime.recording import record

    told = []
    while not debugger.ended:
        at = debugger.position
        debugger.step()
        work = COMPILED.image.code[at.pc].work(COMPILED.image.target)
        if at.runs and work.unit != "control":
            told.append((at.pc, at.timestep))
    assert told == [(ran.pc, ran.timestep) for ran in record(COMPILED, SAMPLE).ran]


def test_a_program_counter(debugger):
    lif = place("layer2.spikes").place[0]
    point = debugger.break_at("pc", str(lif))
    stops = []
    while (stop := debugger.go()).reason == "breakpoint":
        assert (stop.breakpoint, debugger.position.pc) == (point, lif)
        stops.append(debugger.position.iteration)
    assert stops == list(range(STEPS + max(op.stage for op in COMPILED.image.code)))
    debugger.delete(point.number)
    debugger.restart()
    assert debugger.go().reason == "end"


def test_a_timestep_and_what_lies_in_registers_then(debugger):
    spikes = place("layer1.spikes")
    debugger.break_at("timestep", "3")
    stop = debugger.go()
    assert stop.text == "timestep 3"
    assert debugger.now.timestep == 3
    assert debugger.op.mnemonic == "input.events"
    assert look(debugger, "layer1.spikes")[0].integers.tolist() == seen(spikes)[2].tolist()
    assert look(debugger, "input")[0].integers.tolist() == SAMPLE[3].tolist()
    membranes = place("layer1.u")
    assert look(debugger, "layer1.u")[0].integers.tolist() == seen(membranes)[2].tolist()
    debugger.step_timestep(2)
    assert (debugger.now.timestep, debugger.takes_input) == (5, True)
    debugger.step(2)  # into timestep 5, and on to the next one
    debugger.step_timestep()
    assert (debugger.now.timestep, debugger.takes_input) == (6, True)


def test_a_layer_when_it_is_entered(debugger):
    debugger.break_at("layer", "layer3")
    entered = []
    while debugger.go().reason == "breakpoint":
        entered.append(debugger.position.timestep)
        assert COMPILED.provenance[debugger.position.pc].layer == "layer3"
    assert sorted({step for step in entered if step is not None}) == list(range(STEPS))


def test_spikes_of_a_neuron(debugger):
    item = place("layer1.spikes")
    train = seen(item)
    neuron = int(train.sum(0).argmax())
    debugger.break_at("spike", "layer1", str(neuron))
    told = []
    while (stop := debugger.go()).reason == "breakpoint":
        told.append(int(stop.text.split()[-1]))
        assert stop.text.startswith(f"neuron {neuron} of layer1 spikes at pc {item.place[0]}")
    assert told == np.flatnonzero(train[:, neuron]).tolist()
    assert told


def test_cycles(stepped):
    stepped.break_at("cycle", "100")
    assert stepped.go().text == "cycle 100"
    assert stepped.session.cycles == stepped.now.cycle == 100
    stepped.step_cycle(7)
    assert stepped.now.cycle == 107
    rows = queues(stepped)
    for name, unit in stepped.session.machine.units.items():
        assert len(rows[name]) == len({id(op) for op in (*unit.active, *unit.queue)})
    with pytest.raises(RuntimeFailure, match="only the cycle engine has queues"):
        queues(Debugger(on("fast"), SAMPLE))
    with pytest.raises(IsaError, match="the cycle engine in cycles"):
        Debugger(on("fast"), SAMPLE).step_cycle()


def by_hand(engine, *last):
    """A neuron whose membrane does not fit its 16 bits every fifth timestep; then what else is."""
    lif = Lif(dest=1, row=0, parameters=0, groups=1, banks=(0,), shift=-6)
    weights = np.full((1, LANES), 127)
    tables = {"spike": weights, "parameter": parameters(LANES, threshold=32767, leak=8192)}
    body = each_timestep(
        InputEvents(dest=0, inputs=1),
        AccumulateEvents(bank=0, source=0, row=0, inputs=1, groups=1),
        lif,
    )
    image = program(ClearMembranes(row=0, groups=1), *body, *last, **tables)
    described = Interface(
        name="n",
        input=Input(kind="events", size=1, bits=1, scale=1),
        output=Output(size=1, scale=1, average=False),
    )
    image.notes[INTERFACE] = interface_bytes(described)
    return Debugger(Program(image, "hand.elf", engine), np.ones((12, 1), np.int64))


@pytest.mark.parametrize("engine", ENGINES)
def test_saturation(engine):
    debugger = by_hand(engine)
    debugger.break_at("saturation")
    stops = []
    while (stop := debugger.go()).reason == "breakpoint":
        stops.append(stop.text)
    (lif,) = [pc for pc, op in enumerate(debugger.code) if isinstance(op, Lif)]
    said = f"pc {lif}: membrane saturated {LANES} times at pc {lif} in timestep"
    assert stops == [f"{said} 4", f"{said} 9"]
    assert stop.text.endswith("; the program emitted 0 of 1 logits")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trap(engine):
    debugger = by_hand(engine, MoveEvents(dest=2, source=5, size=1))
    debugger.break_at("trap")
    stop = debugger.go()
    (pc,) = [pc for pc, op in enumerate(debugger.code) if isinstance(op, MoveEvents)]
    assert stop.reason == "trap"
    assert stop.text.startswith(f"hand.elf: trap at pc {pc}, cycle ")
    assert stop.text.endswith("e5 was read before it was written in this sample")
    assert look(debugger, "e1")[0].integers.tolist() == [0] * LANES
    with pytest.raises(RuntimeFailure, match="the sample has ended"):
        debugger.go()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_difference_names_layer_timestep_neuron_and_both_numbers(engine):
    item = place("layer1.u")
    exact = seen(item).astype(np.int64)
    meaning = Meaning(9, np.full(9, 0.25))
    floats = exact[:, :9] * 0.25
    expected = {item.value: Expected(item.value, exact[:, :9], floats, meaning, 0.1)}
    compared = Debugger(on(engine), SAMPLE, meanings={"layer1.u": meaning}, expected=expected)
    assert compared.go().reason == "end"
    wrong = floats.copy()
    wrong[4, 6:] += 0.5
    expected[item.value] = Expected(item.value, exact[:, :9], wrong, meaning, 0.1)
    compared.restart(expected=expected)
    stop = compared.go()
    assert stop.text == (
        f"layer1, timestep 4, neuron 6: layer1.u is {floats[4, 6]:.6g} ({exact[4, 6]}) on the "
        f"machine, {wrong[4, 6]:.6g} in the model; more than 0.1 apart; 2 others of 9 differ, too"
    )
    assert look(compared, "layer1.u", "6")[0].element(0) == f"{exact[4, 6]} ({floats[4, 6]:.6g})"
    odd = exact[:, :9].copy()
    odd[2, 1] += 1
    compared.restart(expected={item.value: Expected(item.value, odd, floats, meaning, 0.1)})
    said = f"timestep 2, neuron 1: layer1.u is {exact[2, 1]} on the machine, {odd[2, 1]} in the i"
    assert said in compared.go().text


def shown(debugger, name):
    """What lies under a name; None if something else does by now."""
    try:
        return look(debugger, name)[0].integers.tolist()
    except RuntimeFailure as error:
        return None if re.fullmatch(rf"{name} is over: \S+ holds \S+ now", str(error)) else error


def test_names_that_share_a_register_are_told_apart(debugger):
    """What a name shows is what its instruction left there last, and nothing else's."""
    last, seen = {}, 0
    while not debugger.ended:
        at = debugger.position
        debugger.step()
        for item in debugger.places.get(at.pc, ()) if at.runs else ():
            if item.value and "[" not in item.value:
                last[item.name] = debugger.lying_at(item.where).tolist()
        told = {name: shown(debugger, name) for name in last}
        assert all(data in (None, last[name]) for name, data in told.items())
        seen += sum(data is not None for data in told.values())
    assert seen > 100


def test_an_interrupt_stops_what_goes_on(debugger):
    debugger.interrupt.set()
    assert debugger.go().reason == "interrupt"
    assert debugger.session.instructions == 1
    debugger.interrupt.set()
    assert debugger.step(100).reason == "interrupt"
    assert debugger.session.instructions == 2
    assert debugger.go().reason == "end"


def test_what_can_be_named(stepped):
    assert {"layer1.u", "layer3.m", "spike", "logits"} <= set(names(stepped))
    with pytest.raises(RuntimeFailure, match=r"nothing was written to layer1\.u yet"):
        look(stepped, "layer1.u")
    with pytest.raises(RuntimeFailure, match=r"there is no 'layer1\.v' now; there is layer1"):
        look(stepped, "layer1.v")
    stepped.go()
    for name in names(stepped):
        assert all(vector.lines() for vector in look(stepped, name))
    rows = look(stepped, "spike", "1:3")
    assert [row.integers.tolist() for row in rows] == COMPILED.image.memories["spike"][1:3].tolist()
    with pytest.raises(RuntimeFailure, match="has elements 0 to"):
        look(stepped, "layer1.spikes", "90")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere", "no breakpoint at 'nowhere'; one of pc, layer"),
        ("pc " + "9" * 5000, "a program counter is a number from 0 to "),
        ("pc 9999", "a program counter is a number from 0 to "),
        ("layer layer9", "the program has no layer 'layer9'; did you mean layer"),
        ("timestep 7", "a timestep of this sample is a number from 0 to 6, not '7'"),
        ("spike layer1", "break spike takes LAYER NEURON"),
        ("spike readout 1", "no neurons in a layer 'readout'; one of layer1, layer2, layer3"),
        ("differs", "nothing to compare with; dmpc debug --model names the model"),
    ],
)
def test_breakpoints_that_cannot_be(words, said, stepped):
    with pytest.raises(RuntimeFailure, match=f"^{said}"):
        stepped.break_at(*words.split())
    assert not stepped.breakpoints


# -- commands -------------------------------------------------------------------------------------


@pytest.fixture
def console(stepped):
    return Console(stepped, lambda number: (inputs(number), {}))


def test_commands_tell_what_they_did(console):
    assert console.do("break spike layer1 0  # a comment") == ["breakpoint 1: spike layer1 0"]
    assert console.do("b") == ["  1  spike layer1 0"]
    assert console.do("delete 1") == ["deleted spike layer1 0"]
    assert console.do("where")[1].startswith("=>    0  ")
    console.do("step 2")
    console.do("")  # once more
    assert console.debugger.session.instructions == 4
    assert any(line.startswith("=>") for line in console.do("list"))
    told = console.do("continue")
    assert told[0].startswith("the sample has ended in cycle ")
    assert console.do("restart 2")[0].startswith("cycle 0")
    assert console.debugger.inputs.tolist() == inputs(2).tolist()
    assert console.do("quit") == []
    assert console.over


def test_every_command_has_help_and_completion(console):
    assert len(console.do("help")) == len(COMMANDS)
    for command in COMMANDS:
        assert console.do(f"help {command.names[0]}")[1] == command.doc
    assert console.complete("co") == ["continue"]
    assert console.complete("break sp") == ["spike"]
    assert console.complete("b layer layer") == ["layer1", "layer2", "layer3"]
    assert "layer1.u" in console.complete("print layer1.")
    taken = [name for command in COMMANDS for name in command.names]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("contniue", "no command 'contniue'; did you mean continue?"),
        ("step x", "how many is a number from 0"),
        ("step 0", "how many is a number from 1"),
        ("delete 4", "there is no breakpoint 4"),
        ("print", "print takes NAME"),
        ("print e1 2 3", "print takes NAME"),
        ("print 'e1", "no closing quotation"),
    ],
)
def test_commands_that_are_none(line, said, console):
    with pytest.raises(RuntimeFailure, match=said.replace("[", r"\[").replace("?", r"\?")):
        console.do(line)
