"""The explanations on the report page, apart from the code that lays it out. HTML, without figures of a run."""

VERDICT = """Against the same network computed densely, without spikes. Four boundaries, kept apart because they
answer different questions."""

ENERGY = """Mean energy of one inference. Every value is counted operations times a published price; none is a
measurement. A bar between two marks joins networks priced by one table. What the spiking network takes is split
into synapses, neuron updates and traffic (spikes, messages, memory and addresses). The break-even rate is the mean
spike rate at which both would take the same, all else equal; 0&nbsp;% means that the neuron updates alone cost more
than the dense network, “none” that even a spike of every neuron at every step does not reach it."""

ENERGY_PLOT = "Circles: spiking. Diamonds: the same network, dense. Farther left is less."

BREAK_EVEN = """If every layer had more or fewer events in the same proportion, and nothing else changed. Below 1 the
spiking network takes less. A curve that flattens to the left is held up by neuron updates, which cost the same however
few spikes there are."""

BREAK_EVEN_PLOT = "Shaded: the spiking network takes more. A dot is this run."

LOIHI2 = """Loihi 2: no energy per operation was found in any publication, so there is no table for it. See the
published whole-chip figures below."""

LAYERS = """Counted from the recorded run, mean over the samples. An event is a non-zero input at one step; a
synaptic operation is an event times the synapses that it really reaches, exact at the edges of space and time. A
spike costs an addition (AC); an integer or real payload costs a multiplication (MAC)."""

LAYERS_PLOT = "The strong bars are what happened; the pale bar is the same layer without sparsity."

PARITY = """Every spike of every neuron at every step is compared. In double precision nothing may differ, except
after a tie: a potential within 1e-7 of its threshold. Single precision is expected to differ somewhere, and is
measured."""

METERED = """Energy an inference, mean and standard deviation over windows of seconds; the idle draw is subtracted
in “dynamic”. It is PyTorch running the spiking network, spikes as dense numbers."""

PUBLISHED = """For orientation only: other networks, other data, other boundaries. None of these is a result of this
run."""

DAMPFHOFFER = """Dampfhoffer et al. (IEEE TETCI 7(3), 2023) find that a spiking layer competes with every non-
spiking one below 0.15 operations a synapse and inference, and with none above 1.38. Their networks see a still
image once; this one computes anew at every step, and so does its dense twin, so that both figures above are
given."""

BOUNDARIES = """The boundary “operations” is what most papers report. It leaves out every fetch of a weight and
every wire. The boundary “memory” (Lemaire et al., ICONIP 2022) charges each access by the size of its memory and
lets neither network reuse a fetched value. The price of an access is read from that paper in two ways, which part
most at the small memories of potentials, so that both are shown. Dense hardware reuses weights over a batch and over
steps, so for a dense accelerator that is too high. Static power is in neither: on a chip that idles most of the time it
can be nearly all of the energy."""

CLAIMS = """Each claim under each price table that prices both of its sides, or each measurement of them. “Undecided”
is an answer: the claim then depends on which table one believes, or needs a measurement that was not made."""

CLAIM_PLOT = """One curve a price table; the dot is this run, the line across is the claim. Where a curve crosses the
line, the answer flips."""

CLAIM_STEPS = """The same over the number of steps, at an unchanged spike rate and with the other side as it is."""

TWIN = """The network of the same shape that does not spike, with activations of as many bits as the spikes of an
utterance can tell apart. If spikes carried a rate, the twin would compute once an utterance; in a temporal task it has
to compute in every step. The truth for speech lies between the two. 22 nm; what is moved is activations, over one
hop."""

COUNTERS = """The packages themselves, on the same checkpoint and samples. Where definitions coincide the figures must
be equal; where they do not, the reason stands beside them."""

CHIPS = """The network placed on the cores of a chip, by rules and limits that are data with sources. Nothing was run on
a chip. Loihi 2's memory layout is not published, so that its cores are a lower bound."""

CHIP_PICTURE = "Each square is a core, four to a tile; the darker, the fuller its fullest resource."

WATERFALL = """The boundary “memory included” (Lemaire et al. 2022), one layer after another: each bar starts where the
one above it ends, so that the last one ends at the whole. A picture for each price of an access, on one scale. Accesses
are reads and writes of weights, potentials and spikes; neuron updates hold those of every step, biases included."""

BESIDE = """Counted and priced in the same way, each on its own input. A network that takes less and knows less is not
better: accuracy stands beside."""

BESIDE_PLOT = "A mark a network, the spiking side only. Farther left is less."
