"""Words for how a neuron resets: in a NIR file's metadata (graph/dialect.py) and on the command line."""

RESET_ZERO = "zero"  # v = v_reset
RESET_SUBTRACT = "subtract"  # the threshold is taken off at the next step, after the leak
RESET_SUBTRACT_AT_ONCE = "subtract_at_once"  # the threshold is taken off where it fires, before the leak
RESETS = (RESET_ZERO, RESET_SUBTRACT, RESET_SUBTRACT_AT_ONCE)
